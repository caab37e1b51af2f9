//! Why an account is paused.

use super::Money::{None as NoMoney, NotTaken};
use super::Page;
use super::Place::{Account, Field, Job};
use super::page;

const MEND: &str =
    "Mend it at the vendor or in the configuration (then: opros reload), and let the account go on: opros resume NAME.";

pub(super) const PAGES: &[Page] = &[
    page(
        "operator",
        &[Account],
        NoMoney,
        "Somebody paused the account: opros pause NAME, or the socket.",
        "opros resume NAME, once the reason is gone.",
    ),
    page(
        "bad_key",
        &[Account, Job, Field],
        NotTaken,
        "Of an account: Tronk says that the key is wrong, and the account is paused with its jobs kept. Of a field: dedupe_key or tag is too long or empty, or holds control characters.",
        "Account: put the right key into the configuration, opros reload, opros resume NAME. Field: shorten it.",
    ),
    page(
        "bad_credentials",
        &[Account, Job],
        NotTaken,
        "R-Lab refuses user_id or user_key. The account is paused, its jobs are kept.",
        MEND,
    ),
    page(
        "bad_secret",
        &[Account, Job],
        NotTaken,
        "Alta's test_secret says that login, sa and password do not belong together. The account is paused, its jobs are kept.",
        MEND,
    ),
    page(
        "access_ended",
        &[Account, Job],
        NotTaken,
        "Tronk says that access has ended or the paid requests are used up. The account is paused, its jobs are kept.",
        MEND,
    ),
    page(
        "no_access",
        &[Account, Job],
        NotTaken,
        "Alta refuses the account access. It is paused, its jobs are kept.",
        MEND,
    ),
    page(
        "no_money",
        &[Account, Job],
        NotTaken,
        "The balance or the tariff at the vendor has ended. At Alta and R-Lab only new orders stop; what is followed goes on being asked about.",
        "Pay there. Where the balance is asked for (balance_every) the account goes on by itself; else: opros resume NAME.",
    ),
    page(
        "account_refused",
        &[Account, Job],
        NotTaken,
        "The vendor refused the account itself, by its status or by words of pause_on. It is paused, its jobs are kept.",
        MEND,
    ),
    page(
        "tariff_expired",
        &[Account, Job],
        NotTaken,
        "R-Lab says that the tariff has expired. The account is paused, its jobs are kept.",
        "Renew the tariff at R-Lab, then: opros resume NAME.",
    ),
];
