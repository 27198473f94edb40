# A twin of Fedora, Rocky Linux and their like: systemd, sshd, sudo.
ARG BASE
FROM ${BASE}
ENV container=docker
COPY certificates/ /etc/pki/ca-trust/source/anchors/
RUN update-ca-trust \
 && dnf install -y systemd dbus openssh-server openssh-clients sudo ca-certificates iproute procps-ng iputils hostname
COPY setup twin-init /twin/
RUN sh /twin/setup
VOLUME /var/lib/docker
STOPSIGNAL SIGRTMIN+3
EXPOSE 22
ENTRYPOINT ["/bin/sh", "/twin/twin-init"]
