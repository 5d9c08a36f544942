"""Debian's daemons: what is installed, which units are started, what they need to have something to do, and how each
is asked something. No unit file of theirs is changed."""
from dataclasses import dataclass, field


@dataclass
class Daemon:
    package: str
    units: list
    # A shell command that succeeds as soon as the daemon does its work.
    probe: str = ''
    # What an administrator would set before the first start.
    prepare: str = ''
    # Units that come up with them.
    more: list = field(default_factory=list)
    # In the small set.
    few: bool = False
    # Seconds for the probe.
    patience: float = 15


def answers(port, said='', ask='', udp=''):
    """Somebody accepts on a port, and says or answers this."""
    send = f"printf '{ask}' |" if ask else ''
    return f"{send} timeout 3 nc {udp} -w 2 127.0.0.1 {port} {'' if ask else '< /dev/null'} | grep -aq '{said}'"


def on_bus(name):
    return ('dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner '
            f'string:{name} | grep -q true')


def http(port, path='/', host='127.0.0.1'):
    return f'curl -sS -o /dev/null http://{host}:{port}{path}'


DIG = 'dig +time=1 +tries=1 @127.0.0.1'
DAEMONS = [
    Daemon('dbus', ['dbus.socket', 'dbus.service'], on_bus('org.freedesktop.systemd1'), few=True),
    Daemon('nginx', ['nginx.service'], http(80), few=True),
    Daemon('apache2', ['apache2.service'], http(80), few=True),
    Daemon('lighttpd', ['lighttpd.service'], http(80)),
    Daemon('redis-server', ['redis-server.service'], 'redis-cli ping | grep PONG', few=True),
    Daemon('memcached', ['memcached.service'], answers(11211, 'VERSION', 'version\\r\\nquit\\r\\n'), few=True),
    Daemon('postgresql', ['postgresql@15-main.service'], "su postgres -c \"psql -Atc 'select 40 + 2'\" | grep 42"),
    Daemon('mariadb-server', ['mariadb.service'], "mariadb -Ne 'select 40 + 2' | grep 42", patience=30),
    Daemon('openssh-server', ['ssh.service'], answers(22, 'SSH-2'), few=True),
    Daemon('openssh-server', ['ssh.socket'], answers(22, 'SSH-2'), more=['ssh.service'], few=True),
    Daemon('cron', ['cron.service'], 'pgrep -x cron', few=True),
    Daemon('at', ['atd.service'], "[ -e /run/at-ran ] || { echo 'touch /run/at-ran' | at now; sleep 1; [ -e /run/at-ran ]; }"),
    Daemon('rsyslog', ['rsyslog.service'], 'logger said-by-a-test; sleep 0.5; grep -q said-by-a-test /var/log/syslog',
           few=True),
    # The clock is everybody's.
    Daemon('chrony', ['chrony.service'], 'chronyc -n tracking | grep -q Reference',
           'echo \'DAEMON_OPTS="-F 1 -x"\' > /etc/default/chrony', few=True),
    Daemon('bind9', ['named.service'], f'{DIG} localhost | grep -q NOERROR'),
    Daemon('unbound', ['unbound.service'], f'{DIG} localhost | grep -q NOERROR'),
    Daemon('dnsmasq', ['dnsmasq.service'], f'{DIG} localhost | grep -q NOERROR', few=True),
    Daemon('knot', ['knot.service'], f'{DIG} example.org | grep -q REFUSED'),
    Daemon('nsd', ['nsd.service'], f'{DIG} example.org | grep -qE "REFUSED|SERVFAIL"'),
    Daemon('pdns-server', ['pdns.service'], f'{DIG} example.org | grep -q REFUSED', patience=4),
    Daemon('haproxy', ['haproxy.service'], 'curl -sS -o /dev/null http://127.0.0.1:8404/',
           "printf 'listen stats\\n bind 127.0.0.1:8404\\n mode http\\n stats enable\\n stats uri /\\n' "
           '>> /etc/haproxy/haproxy.cfg'),
    Daemon('squid', ['squid.service'], http(3128), patience=30),
    Daemon('varnish', ['varnish.service'], http(6081)),
    Daemon('privoxy', ['privoxy.service'], 'curl -sS -x http://127.0.0.1:8118 http://config.privoxy.org/ | grep -qi privoxy'),
    Daemon('tinyproxy', ['tinyproxy.service'], http(8888)),
    Daemon('tor', ['tor@default.service'], answers(9050, 'HTTP', 'GET / HTTP/1.0\\r\\n\\r\\n')),
    Daemon('stunnel4', ['stunnel@try.service'], 'nc -z 127.0.0.1 4443',
           "printf 'client = yes\\nforeground = yes\\n[try]\\naccept = 127.0.0.1:4443\\nconnect = 127.0.0.1:9\\n' "
           '> /etc/stunnel/try.conf'),
    Daemon('postfix', ['postfix@-.service'], answers(25, '^220'), 'cp -n /usr/share/postfix/main.cf.debian /etc/postfix/main.cf; '
           'newaliases || :'),
    # The socket first: beside a service that is starting it may or may not be started.
    Daemon('dovecot-imapd', ['dovecot.socket', 'dovecot.service'], answers(143, 'OK')),
    Daemon('spamd', ['spamd.service'], 'nc -z 127.0.0.1 783', patience=30),
    Daemon('opendkim', ['opendkim.service'], 'test -S /run/opendkim/opendkim.sock'),
    Daemon('vsftpd', ['vsftpd.service'], answers(21, '^220'), few=True),
    Daemon('tftpd-hpa', ['tftpd-hpa.service'], 'curl -sS tftp://127.0.0.1/hello | grep -q hello',
           'mkdir -p /srv/tftp; echo hello > /srv/tftp/hello'),
    Daemon('rsync', ['rsync.service'], answers(873, '@RSYNCD'), 'touch /etc/rsyncd.conf'),
    Daemon('samba', ['smbd.service'], 'nc -z 127.0.0.1 445'),
    Daemon('samba', ['nmbd.service'], 'pgrep -x nmbd', patience=4),
    Daemon('rpcbind', ['rpcbind.socket', 'rpcbind.service'], 'rpcinfo -p 127.0.0.1 | grep -q portmapper'),
    Daemon('mosquitto', ['mosquitto.service'], "mosquitto_pub -r -t t -m m && mosquitto_sub -t t -C 1 -W 2 | grep m", few=True),
    Daemon('nats-server', ['nats-server.service'], answers(4222, 'INFO')),
    Daemon('beanstalkd', ['beanstalkd.service'], answers(11300, 'OK', 'stats\\r\\nquit\\r\\n')),
    Daemon('gearman-job-server', ['gearman-job-server.service'], answers(4730, '[0-9]', 'version\\n')),
    Daemon('pgbouncer', ['pgbouncer.service'], 'nc -z 127.0.0.1 6432'),
    Daemon('slapd', ['slapd.service'], "ldapsearch -x -b '' -s base | grep -q numEntries"),
    Daemon('krb5-kdc', ['krb5-kdc.service']),
    Daemon('snmpd', ['snmpd.service'], 'snmpget -v2c -c public -t 1 127.0.0.1 1.3.6.1.2.1.1.5.0 | grep -q STRING'),
    Daemon('munin-node', ['munin-node.service'], answers(4949, 'munin node', 'quit\\n')),
    Daemon('collectd-core', ['collectd.service'], 'pgrep -x collectd', patience=5),
    Daemon('prometheus-node-exporter', ['prometheus-node-exporter.service'], http(9100, '/metrics')),
    Daemon('lldpd', ['lldpd.service'], 'lldpcli show configuration | grep -q Configuration'),
    Daemon('monit', ['monit.service'], 'pgrep -x monit'),
    Daemon('sysstat', ['sysstat.service']),
    Daemon('smartmontools', ['smartmontools.service']),
    Daemon('irqbalance', ['irqbalance.service']),
    Daemon('keepalived', ['keepalived.service']),
    Daemon('radvd', ['radvd.service']),
    Daemon('isc-dhcp-server', ['isc-dhcp-server.service']),
    Daemon('acpid', ['acpid.socket', 'acpid.service'], 'test -S /run/acpid.socket'),
    Daemon('fail2ban', ['fail2ban.service'], 'fail2ban-client ping | grep -q pong', 'touch /var/log/auth.log'),
    Daemon('supervisor', ['supervisor.service'], 'supervisorctl pid | grep -q "^[0-9]"'),
    Daemon('xinetd', ['xinetd.service'], answers(7, 'hello', 'hello\\n'),
           "sed -i 's/disable.*=.*yes/disable = no/' /etc/xinetd.d/echo"),
    Daemon('anacron', ['anacron.timer']),
    Daemon('avahi-daemon', ['avahi-daemon.socket', 'avahi-daemon.service'], on_bus('org.freedesktop.Avahi')),
    Daemon('cups-daemon', ['cups.socket', 'cups.path'], 'lpstat -r | grep -q "is running"', more=['cups.service']),
    Daemon('polkitd', ['polkit.service'], on_bus('org.freedesktop.PolicyKit1'), few=True),
    Daemon('rtkit', ['rtkit-daemon.service'], on_bus('org.freedesktop.RealtimeKit1')),
    Daemon('upower', ['upower.service'], on_bus('org.freedesktop.UPower')),
    Daemon('wpasupplicant', ['wpa_supplicant.service'], on_bus('fi.w1.wpa_supplicant1')),
    Daemon('systemd-resolved', ['systemd-resolved.service'], 'resolvectl status | grep -q Global'),
    Daemon('systemd', ['systemd-logind.service'], 'loginctl list-sessions --no-legend', few=True),
    Daemon('systemd', ['systemd-hostnamed.service'], 'hostnamectl status | grep -q Kernel'),
    Daemon('systemd', ['systemd-timedated.service'], 'timedatectl show | grep -q Timezone'),
    Daemon('systemd', ['systemd-localed.service'], 'localectl status | grep -q Locale'),
    Daemon('systemd', ['systemd-networkd.socket', 'systemd-networkd.service'], 'networkctl list --no-legend | grep -q lo'),
    Daemon('php-fpm', ['php8.2-fpm.service'], 'test -S /run/php/php8.2-fpm.sock'),
    Daemon('fcgiwrap', ['fcgiwrap.socket'], "printf x | nc -U -w 1 -N /run/fcgiwrap.socket; systemctl is-active fcgiwrap.service",
           more=['fcgiwrap.service']),
    Daemon('uuid-runtime', ['uuidd.socket'], 'uuidd -r', more=['uuidd.service']),
    Daemon('pcscd', ['pcscd.socket'], 'nc -U -w 1 -N /run/pcscd/pcscd.comm < /dev/null; systemctl is-active pcscd.service',
           more=['pcscd.service']),
    Daemon('gpsd', ['gpsd.socket'], answers(2947, 'VERSION'), more=['gpsd.service']),
    Daemon('tang', ['tangd.socket'], http(80, '/adv')),
    Daemon('oidentd', ['oidentd.socket'], answers(113, 'ERROR', '1, 2\\r\\n')),
    Daemon('transmission-daemon', ['transmission-daemon.service'], http(9091)),
    Daemon('minidlna', ['minidlna.service'], http(8200)),
    Daemon('icecast2', ['icecast2.service'], http(8000), patience=4),
    Daemon('ngircd', ['ngircd.service'], answers(6667, 'PONG\\|NOTICE\\|ERROR', 'PING x\\r\\nQUIT\\r\\n')),
    Daemon('znc', ['znc.service']),
    Daemon('ser2net', ['ser2net.service'], 'pgrep -x ser2net', patience=4),
    Daemon('dictd', ['dictd.service'], answers(2628, '^220'), patience=4),
]
# The clients that the probes are, and what all of them need.
TOOLS = ('systemd systemd-sysv procps iproute2 curl netcat-openbsd python3 bind9-dnsutils mosquitto-clients snmp '
         'ldap-utils cups-client').split()
# What of these the small set asks.
FEW_TOOLS = 'systemd systemd-sysv procps iproute2 curl netcat-openbsd python3 bind9-dnsutils mosquitto-clients'.split()
