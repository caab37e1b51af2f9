//! How commands end.

use super::Money::{None as NoMoney, Says};
use super::Page;
use super::Place::Exit;
use super::page;

pub(super) const PAGES: &[Page] = &[
    page(
        "exit-0",
        &[Exit],
        NoMoney,
        "Done. wait: every job succeeded; health: ready or degraded; doctor: no problem, perhaps warnings.",
        "Nothing.",
    ),
    page(
        "exit-1",
        &[Exit],
        NoMoney,
        "Failed in general. health: blocked; doctor: a problem; webhooks test: not taken; serve: store or socket cannot be had; restore: nothing was restored.",
        "The line on stderr says why.",
    ),
    page(
        "exit-2",
        &[Exit],
        Says("No: nothing was sent."),
        "The command line or its input is wrong; a file named by --config or OPROS_CONFIG cannot be read; config check: the configuration is wrong.",
        "The line on stderr says what; opros COMMAND --help.",
    ),
    page(
        "exit-3",
        &[Exit],
        Says("Nothing by this command: nobody was there to take an order."),
        "opros cannot be reached at its socket.",
        "systemctl status opros; opros doctor; is it another socket (--socket)?",
    ),
    page(
        "exit-4",
        &[Exit],
        NoMoney,
        "There is no such job, account, webhook or code.",
        "opros jobs, opros accounts, opros webhooks, opros explain.",
    ),
    page(
        "exit-5",
        &[Exit],
        Says("No: what is refused was not stored. Good lines of a file are kept."),
        "opros refused: bad params, wrong state, a bad line in a file; init: the vendor refused the credentials.",
        "The line on stderr names the field and what to do.",
    ),
    page(
        "exit-6",
        &[Exit],
        NoMoney,
        "watch --exec: the program failed; the event counts as not taken.",
        "Mend the program and start watch again with the same --cursor.",
    ),
    page(
        "exit-7",
        &[Exit],
        Says("Perhaps: the order may have been taken. Asked for again with its uid, it is not ordered twice."),
        "The connection broke, or the answer did not come in time, and asking again for a minute did not help. What was asked for may have been done.",
        "opros jobs --uid TOKEN, with the token in the message, tells what has become of it. The same command with --uid TOKEN orders nothing twice.",
    ),
    page(
        "exit-10",
        &[Exit],
        Says("See the job's error: opros explain ID."),
        "wait: a job failed.",
        "opros explain ID.",
    ),
    page(
        "exit-11",
        &[Exit],
        Says("If it was sent before: opros show ID has submitted_at."),
        "wait: a job was cancelled.",
        "opros retry ID orders it again.",
    ),
    page(
        "exit-12",
        &[Exit],
        Says("If it was sent before: opros show ID has submitted_at."),
        "wait: a job expired.",
        "opros explain ID.",
    ),
    page(
        "exit-13",
        &[Exit],
        Says("Perhaps: the vendor may have taken the order."),
        "wait: a job is in doubt and needs you.",
        "opros explain ID, then opros resolve ID.",
    ),
    page(
        "exit-14",
        &[Exit],
        Says("No: nothing was sent."),
        "wait: a job was rejected.",
        "opros explain ID; hand in a better one.",
    ),
    page(
        "exit-15",
        &[Exit],
        NoMoney,
        "wait: --timeout ran out. The jobs go on.",
        "opros wait again, or opros explain ID.",
    ),
    page(
        "exit-70",
        &[Exit],
        NoMoney,
        "serve: the store could not be trusted any more (a broken disk, another daemon on it), so opros stopped before money could be lost. systemd starts it again.",
        "journalctl -u opros -n 50, opros doctor.",
    ),
    page(
        "exit-78",
        &[Exit],
        NoMoney,
        "serve, restore: the configuration is wrong; systemd does not try again.",
        "sudo opros config check.",
    ),
];
