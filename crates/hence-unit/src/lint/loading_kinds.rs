//! What the loader refuses in a kind of unit, as rules: directives that need or exclude each other. Their
//! checks
//! are the loader's; here are only their words.

use super::{Check, Level, Rule};

const fn row(
    id: &'static str,
    says: &'static str,
    why: &'static str,
    page: &'static str,
    (bad, good): (&'static str, &'static str),
) -> Rule {
    Rule { id, level: Level::Error, says, why, page, bad, good, check: Check::Loader }
}

pub(super) const RULES: &[Rule] = &[
    row(
        "no-exec-start",
        "The service has nothing to start.",
        "It is refused. Only Type=oneshot may lack ExecStart=, and then needs ExecStop= with \
         RemainAfterExit=yes.",
        "systemd.service(5)",
        ("[Service]\nType=exec\n", "[Service]\nType=exec\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "several-exec-start",
        "The service has more than one ExecStart=.",
        "It is refused: only Type=oneshot may have several. A drop-in that is to replace the command has to \
         empty the list first, with a line ExecStart= of its own.",
        "systemd.service(5)",
        (
            "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- foo.service.d/more.conf --\n[Service]\n\
             ExecStart=/usr/bin/foo --verbose\n",
            "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- foo.service.d/more.conf --\n[Service]\n\
             ExecStart=\nExecStart=/usr/bin/foo --verbose\n",
        ),
    ),
    row(
        "oneshot-restart",
        "A oneshot service is to be restarted when it ends well.",
        "It is refused: Type=oneshot allows Restart= only for failures.",
        "systemd.service(5)",
        (
            "[Service]\nType=oneshot\nExecStart=/usr/bin/foo\nRestart=always\n",
            "[Service]\nType=oneshot\nExecStart=/usr/bin/foo\nRestart=on-failure\nRestartSec=1min\n",
        ),
    ),
    row(
        "exit-type",
        "ExitType=cgroup does not go with Type=oneshot or forking.",
        "The unit is refused.",
        "systemd.service(5)",
        (
            "[Service]\nType=oneshot\nExitType=cgroup\nExecStart=/usr/bin/foo\n",
            "[Service]\nType=exec\nExitType=cgroup\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "no-bus-name",
        "A service of Type=dbus names no bus name.",
        "It is refused: BusName= is what tells that it has started.",
        "systemd.service(5)",
        (
            "[Service]\nType=dbus\nExecStart=/usr/bin/foo\n",
            "[Service]\nType=dbus\nBusName=org.example.Foo\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "no-timer",
        "The timer never elapses.",
        "It is refused: it has neither OnCalendar= nor any On...Sec=.",
        "systemd.timer(5)",
        (
            "-- foo.timer --\n[Timer]\nPersistent=no\n-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n",
            "-- foo.timer --\n[Timer]\nOnCalendar=daily\n-- foo.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "no-path",
        "The path unit watches nothing.",
        "It is refused.",
        "systemd.path(5)",
        (
            "-- foo.path --\n[Path]\nMakeDirectory=yes\n-- foo.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
            "-- foo.path --\n[Path]\nPathChanged=/etc/foo\n-- foo.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "no-listen",
        "The socket unit listens on nothing.",
        "It is refused.",
        "systemd.socket(5)",
        (
            "-- foo.socket --\n[Socket]\nBacklog=5\n-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n",
            "-- foo.socket --\n[Socket]\nListenStream=/run/foo\n-- foo.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "accept",
        "Accept=yes does not go with what else the socket says.",
        "The unit is refused: each connection gets an instance of a template, so there have to be \
         connections.",
        "systemd.socket(5)",
        (
            "-- foo.socket --\n[Socket]\nListenDatagram=/run/foo\nAccept=yes\n-- foo@.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
            "-- foo.socket --\n[Socket]\nListenStream=/run/foo\nAccept=yes\n-- foo@.service --\n[Service]\n\
             ExecStart=/usr/bin/foo %i\n",
        ),
    ),
    row(
        "symlinks",
        "Symlinks= needs exactly one socket or FIFO in the file system.",
        "The unit is refused.",
        "systemd.socket(5)",
        (
            "-- foo.socket --\n[Socket]\nListenStream=80\nSymlinks=/run/bar\n-- foo.service --\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
            "-- foo.socket --\n[Socket]\nListenStream=/run/foo\nSymlinks=/run/bar\n-- foo.service --\n\
             [Service]\n\
             ExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "slice-name",
        "The name of the slice has an empty part.",
        "It is refused: the name is the path from the root, its parts joined by single dashes.",
        "systemd.slice(5)",
        ("-- a--b.slice --\n[Slice]\nTasksMax=10\n", "-- a-b.slice --\n[Slice]\nTasksMax=10\n"),
    ),
    row(
        "isolate-on-failure",
        "OnFailureJobMode=isolate allows one unit in OnFailure= only.",
        "The unit is refused.",
        "systemd.unit(5)",
        (
            "[Unit]\nOnFailure=a.target b.target\nOnFailureJobMode=isolate\n[Service]\n\
             ExecStart=/usr/bin/foo\n",
            "[Unit]\nOnFailure=a.target\nOnFailureJobMode=isolate\n[Service]\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "mount",
        "The mount unit lacks something, or its name does not fit its path.",
        "It is refused: the name is the path of Where=, escaped.",
        "systemd.mount(5)",
        (
            "-- srv-data.mount --\n[Mount]\nWhat=/dev/sdb1\nWhere=/srv/other\n",
            "-- srv-data.mount --\n[Mount]\nWhat=/dev/sdb1\nWhere=/srv/data\n",
        ),
    ),
    row(
        "swap",
        "The swap unit lacks something, or its name does not fit its path.",
        "It is refused: the name is the path of What=, escaped.",
        "systemd.swap(5)",
        ("-- dev-sdb1.swap --\n[Swap]\nWhat=/dev/sdc1\n", "-- dev-sdb1.swap --\n[Swap]\nWhat=/dev/sdb1\n"),
    ),
    row(
        "automount",
        "The automount unit lacks something, or its name does not fit its path.",
        "It is refused: the name is the path of Where=, escaped.",
        "systemd.automount(5)",
        (
            "-- srv-data.automount --\n[Automount]\nWhere=/srv/other\n",
            "-- srv-data.automount --\n[Automount]\nWhere=/srv/data\n",
        ),
    ),
];
