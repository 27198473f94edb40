export LC_ALL=C
# libcurl reads http_proxy in small letters only (curl: libcurl-env). apt has a file of its own.
if [ -r /etc/provision/proxy.env ]; then
    set -a
    # shellcheck disable=SC1091
    . /etc/provision/proxy.env
    # shellcheck disable=SC2034
    http_proxy=${HTTP_PROXY-} https_proxy=${HTTPS_PROXY-} no_proxy=${NO_PROXY-}
    set +a
fi
