//! What makes opros degraded or blocked.

use super::Money::{None as NoMoney, Says};
use super::Page;
use super::Place::{Health, Problem};
use super::page;

const WAITS: &str = "Nothing is lost: new rows wait in the file, and everything else goes on.";

pub(super) const PAGES: &[Page] = &[
    page(
        "stopping",
        &[Health, Problem],
        NoMoney,
        "opros is ending: by a signal, or because its store cannot be trusted any more (exit code 70). It begins no new call.",
        "Ask again in a few seconds. If it does not come back: journalctl -u opros -n 50.",
    ),
    page(
        "disk_low",
        &[Health],
        NoMoney,
        "The store's disk has less room than store.free_floor, or was full. Nothing new is ordered or taken in; what is under way is recorded.",
        "Free some space. opros goes on by itself.",
    ),
    page(
        "store_blocked",
        &[Health],
        NoMoney,
        "Nothing can be committed to the store (disk full, locked, swapped or broken), so no call is begun.",
        "The cause stands in the sentence; opros doctor looks at disk and files. A store that was swapped needs a restart after the right one is back.",
    ),
    page(
        "store_unreadable",
        &[Health],
        NoMoney,
        "The store could not be read when health was asked.",
        "opros doctor, journalctl -u opros -n 50.",
    ),
    page(
        "account_paused",
        &[Health],
        NoMoney,
        "The account makes no calls, or orders nothing new, and keeps its jobs: an operator paused it, or the vendor says that key, access or money is at fault.",
        "opros accounts says why. Mend it, then: opros resume NAME.",
    ),
    page(
        "account_frozen",
        &[Health],
        NoMoney,
        "The vendor asked for silence (429 or Retry-After); the account makes no call until then.",
        "Nothing: it goes on by itself. opros resume NAME ends the silence at your own risk.",
    ),
    page(
        "account_unreachable",
        &[Health],
        NoMoney,
        "Three calls in a row brought no readable answer. One request at a time finds out whether the vendor is back.",
        "opros accounts has the last error; opros doctor says whether name, connection and certificate are good. It goes on by itself.",
    ),
    page(
        "account_on_reserve",
        &[Health],
        NoMoney,
        "R-Lab's primary host is silent, and the reserve host of the configuration is used.",
        "Nothing: the primary is tried again every reserve_after.",
    ),
    page(
        "tariff_ends",
        &[Health],
        NoMoney,
        "By R-Lab's word the tariff ends within a week, or has ended.",
        "Renew it at R-Lab.",
    ),
    page(
        "jobs_in_doubt",
        &[Health],
        Says("Perhaps: that is what the doubt is about."),
        "Requests may have reached a vendor, and nobody knows the answer. opros asks Alta and R-Lab by itself; the rest needs you.",
        "opros jobs --state in_doubt; opros explain ID; then opros resolve ID --adopt REMOTE_ID | --resubmit | --fail.",
    ),
    page(
        "mailbox_locked",
        &[Health],
        NoMoney,
        "Another program holds a lock on the mailbox. New rows and answers wait, everything else goes on.",
        "Find it (lsof, fuser on mailbox.db) and let it end its transaction. Programs should commit at once and set a busy timeout.",
    ),
    page(
        "mailbox_unavailable",
        &[Health],
        NoMoney,
        "The mailbox cannot be opened or used; the sentence says why.",
        WAITS,
    ),
    page(
        "mailbox_schema",
        &[Health],
        NoMoney,
        "Another program changed the mailbox's tables or hung a trigger, view or index on them. Until that is mended no row is taken and no answer is written.",
        "The sentence says what to drop. Else stop opros, move the mailbox away, start it again, and copy rows that were not taken from the old file.",
    ),
    page(
        "mailbox_not_ours",
        &[Health],
        NoMoney,
        "The file at mailbox.path is another database, or the mailbox of another store.",
        "Correct mailbox.path, or move the file away: opros makes a new one.",
    ),
    page(
        "mailbox_wal",
        &[Health],
        NoMoney,
        "The mailbox's WAL has grown beyond 64 MiB: another program keeps a read transaction open.",
        "Find the program that reads and let it end its transaction (an unfinished SELECT is enough to hold it).",
    ),
    page(
        "mailbox_store",
        &[Health],
        NoMoney,
        "The mailbox waits for the store.",
        "See the cause of the store beside it.",
    ),
    page(
        "mailbox_replaced",
        &[Health],
        NoMoney,
        "The mailbox was deleted, replaced or put back from a copy while opros ran. It is mended already; this shows for ten minutes.",
        "Was it meant? Rows that were inserted into the lost file and not taken are gone with it.",
    ),
    page(
        "mailbox_damaged",
        &[Health],
        NoMoney,
        "The mailbox's inside was broken. opros made a new one, took over what could be read, and kept the old one beside it; this shows for ten minutes.",
        "Look for rows that were not taken in mailbox.db.damaged-…; opros doctor says which SQLite other programs use.",
    ),
    page(
        "webhook_disabled",
        &[Health],
        NoMoney,
        "The webhook or command is told of nothing: it said 410, or every delivery failed for five days.",
        "Mend the receiver, then: opros webhooks enable NAME. What waits goes out at once.",
    ),
    page(
        "webhook_failing",
        &[Health],
        NoMoney,
        "Deliveries to the webhook or command have been failing for a while; events wait.",
        "opros webhooks deliveries NAME has the errors; opros webhooks test NAME tries it.",
    ),
    page(
        "backup",
        &[Health],
        NoMoney,
        "The newest backup by the calendar failed; older ones stay.",
        "The sentence says why: room on the disk, or the rights of backup.dir. opros backup FILE tries one by hand.",
    ),
];
