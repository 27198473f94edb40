# A twin of openSUSE: systemd, sshd, sudo.
ARG BASE
FROM ${BASE}
ENV container=docker
COPY certificates/ /etc/pki/trust/anchors/
RUN zypper --non-interactive install --no-recommends \
    systemd systemd-sysvinit dbus-1 openssh-server openssh-clients sudo ca-certificates iproute2 procps iputils hostname \
 && update-ca-certificates
COPY setup twin-init /twin/
RUN sh /twin/setup
VOLUME /var/lib/docker
STOPSIGNAL SIGRTMIN+3
EXPOSE 22
ENTRYPOINT ["/bin/sh", "/twin/twin-init"]
