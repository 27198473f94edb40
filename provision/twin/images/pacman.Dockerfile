# A twin of Arch Linux: systemd, sshd, sudo.
ARG BASE
FROM ${BASE}
ENV container=docker
COPY certificates/ /etc/ca-certificates/trust-source/anchors/
RUN pacman -Syu --noconfirm --needed systemd systemd-sysvcompat dbus openssh sudo ca-certificates iproute2 procps-ng iputils inetutils \
 && update-ca-trust
COPY setup twin-init /twin/
RUN sh /twin/setup
VOLUME /var/lib/docker
STOPSIGNAL SIGRTMIN+3
EXPOSE 22
ENTRYPOINT ["/bin/sh", "/twin/twin-init"]
