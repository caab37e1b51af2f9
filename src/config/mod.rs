//! The configuration: layers in, one checked [`Config`] or all [`Problems`] out.

mod accounts;
mod base_url;
pub mod duration;
mod problem;
mod sections;

pub use self::accounts::{
    Account, AccountCommon, AccountKind, AltaAccount, CodeMeaning, Limits, PollStep, RlabAccount, TronkAccount,
    VagvinAccount,
};
pub use self::base_url::BaseUrl;
pub use self::problem::{Problem, Problems};
pub use self::sections::{Admin, Callbacks, Config, Log, LogFormat, Mailbox, Retention, Store};
