# A twin of Debian and Ubuntu: systemd, sshd, sudo; nothing that a server does not have.
ARG BASE
FROM ${BASE}
ENV container=docker
COPY certificates/ /usr/local/share/ca-certificates/
COPY apt.conf /etc/apt/apt.conf.d/99twin
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    systemd-sysv dbus libpam-systemd openssh-server sudo ca-certificates iproute2 procps iputils-ping \
 && update-ca-certificates
COPY setup twin-init /twin/
RUN sh /twin/setup
VOLUME /var/lib/docker
STOPSIGNAL SIGRTMIN+3
EXPOSE 22
ENTRYPOINT ["/bin/sh", "/twin/twin-init"]
