//! The cases: units with one planted fault each, and sound ones that look suspicious.

use std::path::Path;

/// Units and what is to be said of them.
pub struct Case {
    pub name: &'static str,
    /// Unit files by name.
    pub units: &'static [(&'static str, &'static str)],
    /// Further files of the folder.
    pub files: &'static [(&'static str, &'static str)],
    pub arguments: &'static [&'static str],
    /// The kind and the unit of what is to be found; `None`: it is sound.
    pub finds: Option<(&'static str, &'static str)>,
    /// What may be found of the same unit because of it.
    pub also: &'static [&'static str],
    /// It runs every time.
    pub ordinary: bool,
    /// Whether the machine has what it needs.
    pub needs: fn() -> bool,
}

const CASE: Case = Case {
    name: "",
    units: &[],
    files: &[],
    arguments: &[],
    finds: None,
    also: &[],
    ordinary: false,
    needs: || true,
};

/// Says READY=1, and that it lives.
const NOTIFY: &str = "#!/usr/bin/perl
use Socket;
my $to = $ENV{NOTIFY_SOCKET};
$to =~ s/^@/\\0/;
sub say_it { socket(my $s, AF_UNIX, SOCK_DGRAM, 0); send($s, $_[0], 0, sockaddr_un($to)); close $s }
select undef, undef, undef, $ARGV[0];
say_it('READY=1');
while (1) { say_it('WATCHDOG=1'); select undef, undef, undef, 0.4 }
";

/// Every 20th SIGTERM of all its runs goes unheard.
const HANGS: &str = "#!/usr/bin/perl
$SIG{TERM} = sub {
    open my $f, '<', 'FOLDER/stops'; my $n = <$f> + 1; close $f;
    open $f, '>', 'FOLDER/stops'; print $f $n; close $f;
    exit 0 if $n % 20;
};
select undef, undef, undef, 0.2 while 1;
";

/// Ends as soon as another process has b's place.
const FRAGILE: &str = "#!/usr/bin/perl
sub pid { open my $f, '<', 'FOLDER/b.pid' or return 0; my $n = <$f>; $n + 0 }
my $first; until ($first = pid()) { select undef, undef, undef, 0.05 }
while (pid() == $first and kill 0, $first) { select undef, undef, undef, 0.05 }
die \"b is gone\\n\";
";

pub static PLANTED: [Case; 15] = [
    Case {
        name: "children-left",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/bin/sh -c 'sleep 900 & exec sleep 901'\nKillMode=process\nRestart=always\n\
             RestartSec=100ms\n",
        )],
        finds: Some(("left-behind", "x.service")),
        ordinary: true,
        ..CASE
    },
    Case {
        name: "processes",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/bin/sh -c 'while :; do sleep 900 & sleep 0.4; done'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("processes", "x.service")),
        ..CASE
    },
    Case {
        name: "memory",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { push @a, \"x\" x 60000; \
             select undef, undef, undef, 0.1 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("memory", "x.service")),
        ordinary: true,
        ..CASE
    },
    Case {
        name: "memory-with-saw-tooth",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my (@a, @b); while (1) { push @a, \"x\" x 60000; \
             push @b, \"y\" x 200000; @b = () if @b > 9; select undef, undef, undef, 0.1 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("memory", "x.service")),
        ..CASE
    },
    Case {
        name: "descriptors",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { open my $f, \"<\", \"/dev/null\"; \
             push @a, $f; select undef, undef, undef, 0.3 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("descriptors", "x.service")),
        ..CASE
    },
    Case {
        name: "sockets",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -MSocket -e 'my @a; while (1) { \
             socket(my $s, AF_UNIX, SOCK_STREAM, 0); push @a, $s; select undef, undef, undef, 0.3 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("sockets", "x.service")),
        ..CASE
    },
    Case {
        name: "threads",
        units: &[(
            "x.service",
            "[Service]\nEnvironment=SOAK_PAYLOAD=threads\nExecStart=PROGRAM --exact payload::payload\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("threads", "x.service")),
        ..CASE
    },
    Case {
        name: "long-loop",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/bin/sh -c 'sleep 15; echo lost the way >&2; exit 1'\nRestart=always\n\
             RestartSec=200ms\n",
        )],
        arguments: &["--no-faults"],
        finds: Some(("failure", "x.service")),
        ..CASE
    },
    Case {
        name: "stop-hangs",
        units: &[(
            "x.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=FOLDER/hangs\nTimeoutStopSec=1500ms\n",
        )],
        files: &[("hangs", HANGS), ("stops", "0")],
        arguments: &["--restart", "x every 500ms", "--for", "32s"],
        finds: Some(("stop-time", "x.service")),
        ..CASE
    },
    Case {
        name: "log-errors",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e ';$| = 1; my $n = 0; while (1) { $n++; \
             print \"error: queue is full at $n\\n\" for 1 .. $n / 12; select undef, undef, undef, 0.25 }'\n",
        )],
        arguments: &["--no-faults"],
        finds: Some(("log-errors", "x.service")),
        ..CASE
    },
    Case {
        name: "slow-start",
        units: &[(
            "x.service",
            "[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=6s\nExecStart=FOLDER/notify 3.5\n",
        )],
        files: &[("notify", NOTIFY)],
        arguments: &["--no-faults", "--for", "8s"],
        finds: Some(("start-time", "x.service")),
        ..CASE
    },
    Case {
        name: "zombies",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'while (1) { fork or exit 0; \
             select undef, undef, undef, 0.5 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("zombies", "x.service")),
        ..CASE
    },
    Case {
        name: "files",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my $n; while (1) { $n++; \
             open my $f, \">\", \"$ENV{TMPDIR}/spool.$n\"; print $f \"x\" x 20000; close $f; \
             select undef, undef, undef, 0.2 }'\n",
        )],
        arguments: &["--no-faults", "--for", "30s"],
        finds: Some(("files", "")),
        ..CASE
    },
    Case {
        name: "breaks-with-another",
        units: &[
            (
                "a.service",
                "[Service]\nExecStart=FOLDER/fragile\nRestart=always\nRestartSec=300ms\n[Unit]\n\
                           After=b.service\nStartLimitIntervalSec=0\n",
            ),
            (
                "b.service",
                "[Service]\nExecStart=/bin/sh -c 'echo $$$$ >FOLDER/b.pid; exec sleep 900'\n[Unit]\n\
                           StartLimitIntervalSec=0\n",
            ),
        ],
        files: &[("fragile", FRAGILE)],
        arguments: &["--restart", "b every 6s", "--keep-going"],
        finds: Some(("fails-with", "a.service")),
        ordinary: true,
        ..CASE
    },
    Case {
        name: "notify-never",
        units: &[(
            "x.service",
            "[Service]\nType=notify\nTimeoutStartSec=2s\nExecStart=/bin/sleep 900\nRestart=no\n",
        )],
        finds: Some(("start", "x.service")),
        ..CASE
    },
];

pub static SOUND: [Case; 16] = [
    Case {
        name: "idle",
        units: &[("x.service", "[Service]\nExecStart=/bin/sleep 900\nRestart=always\n")],
        ..CASE
    },
    Case {
        name: "saw-tooth",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { push @a, \"x\" x 400000; \
             @a = () if @a > 12; select undef, undef, undef, 0.1 }'\nRestart=on-failure\n",
        )],
        ordinary: true,
        ..CASE
    },
    Case {
        name: "warm-up",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { push @a, \"x\" x 200000 if @a < 30; \
             select undef, undef, undef, 0.1 }'\nRestart=on-failure\n",
        )],
        ..CASE
    },
    Case {
        name: "oneshot",
        units: &[("x.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")],
        ..CASE
    },
    Case {
        name: "short-children",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/bin/sh -c 'while :; do sleep 0.07; (sleep 0.1 & sleep 0.05; wait); done'\n\
             Restart=on-failure\n",
        )],
        ..CASE
    },
    Case {
        name: "always-complains",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e ';$| = 1; while (1) { \
             print \"warning: error 5 of peer, trying again\\n\"; select undef, undef, undef, 0.3 }'\n",
        )],
        ..CASE
    },
    Case {
        name: "dbus-daemon",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/dbus-daemon --session --nofork --nopidfile \
             --address=unix:path=FOLDER/bus\nRestart=on-failure\n",
        )],
        needs: || Path::new("/usr/bin/dbus-daemon").exists(),
        ..CASE
    },
    Case {
        name: "socket-activated",
        units: &[
            ("x.socket", "[Socket]\nListenStream=FOLDER/x.sock\n"),
            ("x.service", "[Service]\nExecStart=/bin/sleep 900\n"),
            ("y.service", "[Unit]\nRequires=x.socket\nAfter=x.socket\n[Service]\nExecStart=/bin/sleep 900\n"),
        ],
        ..CASE
    },
    Case {
        name: "watchdog",
        units: &[(
            "x.service",
            "[Service]\nType=notify\nNotifyAccess=all\nWatchdogSec=8s\nExecStart=FOLDER/notify 0.1\n\
             Restart=on-failure\n",
        )],
        files: &[("notify", NOTIFY)],
        ..CASE
    },
    Case {
        name: "descriptors-come-and-go",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my @a; while (1) { open my $f, \"<\", \"/dev/null\"; \
             push @a, $f; @a = () if rand() < 0.1; select undef, undef, undef, 0.05 }'\nRestart=always\n",
        )],
        ordinary: true,
        ..CASE
    },
    Case {
        name: "requires",
        units: &[
            (
                "a.service",
                "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/sleep 900\n\
                           Restart=always\nRestartSec=100ms\n",
            ),
            ("b.service", "[Service]\nExecStart=/bin/sleep 901\nRestart=always\nRestartSec=100ms\n"),
        ],
        arguments: &["--restart", "every 6s"],
        ordinary: true,
        ..CASE
    },
    Case {
        name: "files-come-and-go",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e 'my $n = 0; while (1) { $n++; \
             open my $f, \">\", \"$ENV{TMPDIR}/spool.$n\"; print $f \"x\" x 90000; close $f; \
             unlink glob(\"$ENV{TMPDIR}/spool.*\") unless $n % 12; select undef, undef, undef, 0.1 }'\n",
        )],
        ..CASE
    },
    Case {
        name: "timer",
        units: &[
            ("x.timer", "[Timer]\nOnActiveSec=500ms\nOnUnitActiveSec=1s\nAccuracySec=1ms\n"),
            ("x.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ],
        ..CASE
    },
    Case {
        name: "pool-of-threads",
        units: &[(
            "x.service",
            "[Service]\nEnvironment=SOAK_PAYLOAD=pool\nExecStart=PROGRAM --exact payload::payload\n",
        )],
        ..CASE
    },
    Case {
        name: "stops-with-care",
        units: &[(
            "x.service",
            "[Service]\nExecStart=/usr/bin/perl -e ';$SIG{TERM} = sub { select undef, undef, undef, 0.3; \
             exit 0 }; sleep 1 while 1'\nTimeoutStopSec=10s\nRestart=on-failure\n",
        )],
        ..CASE
    },
    Case {
        name: "works-in-turns",
        units: &[(
            "x.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1\nRestart=always\n\
             RestartSec=200ms\n",
        )],
        arguments: &["--no-faults"],
        ..CASE
    },
];
