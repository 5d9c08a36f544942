#!/usr/bin/perl
# The program of the unit sets: says in /run/trace when it starts (+NAME), is told to end (-NAME) and ends by
# itself (!NAME), and does what its arguments say.
#   run                      runs until it is told to end
#   exits STATUS AFTER       ends by itself after so many seconds
#   killed SIGNAL AFTER      a signal ends it
#   hangs                    obeys SIGKILL only
#   starter                  has a child and waits for it
#   forks N                  leaves so many children, then runs
#   forking STATUS AFTER     Type=forking: its child ends so
#   notify                   Type=notify: says READY=1, then runs; with WATCHDOG it sends no sign of life
#   first N STATUS AFTER     ends so in its first N starts, and runs from then on
#   serve                    takes one connection of the socket that is passed, then ends with status 0
use strict;
use warnings;
use IO::Handle;
use IO::Socket::UNIX;
use Socket;
use Time::HiRes qw(sleep time);

my ($name, $what, @rest) = @ARGV;

sub trace {
    my ($mark) = @_;
    open my $file, '>>', '/run/trace' or return;
    syswrite $file, sprintf("%s%s %.3f\n", $mark, $name, time);
    close $file;
}

sub forever { sleep 1000 while 1 }

sub child {
    my $pid = fork;
    return $pid if $pid;
    exit 1 unless defined $pid;
    $SIG{TERM} = 'DEFAULT';
    forever();
}

sub notify {
    my $path = $ENV{NOTIFY_SOCKET} or return;
    $path =~ s/^@/\0/;
    my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $path) or return;
    $socket->send($_[0]);
}

sub ends {
    my ($status, $after) = @_;
    sleep $after if $after > 0;
    trace('!');
    exit $status;
}

$SIG{TERM} = sub { trace('-'); $SIG{TERM} = 'DEFAULT'; kill 'TERM', $$ };
trace('+');
if ($what eq 'run') { forever() }
elsif ($what eq 'exits') { ends(@rest) }
elsif ($what eq 'killed') { sleep $rest[1]; trace('!'); kill $rest[0], $$; forever() }
elsif ($what eq 'hangs') { $SIG{$_} = 'IGNORE' for qw(TERM HUP INT ABRT); forever() }
elsif ($what eq 'starter') { my $pid = child(); waitpid $pid, 0 while 1 }
elsif ($what eq 'forks') { child() for 1 .. $rest[0]; forever() }
elsif ($what eq 'forking') {
    my $pid = fork;
    exit 0 if $pid;
    ends(@rest);
}
elsif ($what eq 'notify') { notify('READY=1'); forever() }
elsif ($what eq 'first') {
    my ($times, @end) = @rest;
    open my $file, '+>>', "/run/count.$name";
    syswrite $file, 'x';
    ends(@end) if -s $file <= $times;
    forever();
}
elsif ($what eq 'serve') {
    open my $listening, '+<&=', 3;
    accept my $client, $listening;
    ends(0, 0);
}
