#!/usr/bin/perl
# Tries what the daemon never does, and says of each act whether it was let. Runs as user opros, in opros.service's sandbox and in
# a bare unit. System calls by number, so that nothing but perl-base is needed: x86_64 and aarch64.
use strict;
use warnings;
use Config;
use Fcntl;
use Socket;

my $arm = $Config{archname} =~ /aarch64/;
my %call = $arm ? (mmap => 222, unshare => 97, bpf => 280) : (mmap => 9, unshare => 272, bpf => 321);

sub opens { my ($path, $mode) = @_; return sysopen(my $file, $path, $mode) }
sub lists { my ($path) = @_; opendir(my $directory, $path) or return 0; my @names = grep { !/^\.\.?$/ } readdir $directory; $! = 2 if !@names; return scalar @names }
# A child, so that a namespace or a filter that does it does not spoil the rest. exec that is let ends it with 0.
sub child { my ($act) = @_; my $pid = fork(); if (!$pid) { my $done = $act->(); exit($done ? 0 : ($!+0) || 1) } waitpid($pid, 0); $! = $? >> 8; return $? == 0 }

my @acts = (
    ['write /etc', sub { opens('/etc/opros-was-here', O_CREAT | O_WRONLY) }],
    ['write /usr', sub { opens('/usr/opros-was-here', O_CREAT | O_WRONLY) }],
    ['write its own configuration', sub { opens('/etc/opros/opros.toml', O_WRONLY) }],
    ['write /var/lib beside its own directory', sub { opens('/var/lib/opros-was-here', O_CREAT | O_WRONLY) }],
    ['write /proc/sys', sub { opens('/proc/sys/kernel/hostname', O_WRONLY) }],
    ['read /etc/shadow', sub { opens('/etc/shadow', O_RDONLY) }],
    ['read the credentials on disk', sub { opens('/etc/opros/credentials/tronk.key', O_RDONLY) }],
    ['read /root', sub { lists('/root') }],
    ['read an open file in /home', sub { opens('/home/neighbour/open', O_RDONLY) }],
    ['read an open file in /srv', sub { opens('/srv/neighbour/open', O_RDONLY) }],
    ['read /var/log', sub { lists('/var/log') }],
    ['read the environment of process 1', sub { opens('/proc/1/environ', O_RDONLY) }],
    ['see process 1', sub { -e '/proc/1/status' }],
    ['read /proc/meminfo (other than processes)', sub { opens('/proc/meminfo', O_RDONLY) }],
    ['write a message to the kernel log', sub { opens('/dev/kmsg', O_WRONLY) }],
    ['execute another program', sub { child(sub { exec { '/bin/true' } '/bin/true' }) }],
    ['execute what it wrote itself', sub { child(sub {
        open(my $file, '>', '/var/lib/opros/store/was-here') or return 0; print $file "#!/usr/bin/perl\n"; close $file;
        chmod 0700, '/var/lib/opros/store/was-here'; exec { '/var/lib/opros/store/was-here' } 'was-here' }) }],
    ['set the setgid bit', sub { open(my $file, '>', '/var/lib/opros/store/was-here') or return 0; close $file; chmod 02700, '/var/lib/opros/store/was-here' }],
    ['netlink socket', sub { socket(my $socket, 16, SOCK_RAW, 0) }],
    ['packet socket', sub { socket(my $socket, 17, SOCK_RAW, 0) }],
    ['memory to write and execute', sub { my $at = syscall($call{mmap}, 0, 4096, 7, 0x22, -1, 0); $at != -1 }],
    ['user namespace', sub { child(sub { syscall($call{unshare}, 0x10000000) == 0 }) }],
    ['mount namespace', sub { child(sub { syscall($call{unshare}, 0x00020000) == 0 }) }],
    ['load a program into the kernel (bpf)', sub { syscall($call{bpf}, 5, 0, 0) == 0 }],
);

$| = 1;
for my $act (@acts) {
    my ($name, $try) = @$act;
    $! = 0;
    my $done = eval { $try->() };
    printf "act %s|%s\n", $name, $done ? 'allowed' : "denied ($!)";
}
unlink '/var/lib/opros/store/was-here';
