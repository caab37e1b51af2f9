//! From the configuration to what the engine works with: accounts with their drivers and clients, and checked schedules.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::clock::SharedClock;
use crate::config::{
    Account, AccountKind, Backup, CodeMeaning, Config, EventFilter, Misfire, Problem, Problems, WebhookFormat,
};
use crate::crash::{self, Mutant};
use crate::domain::delivery::Filter;
use crate::domain::hosts::HostPolicy;
use crate::domain::masking::Masks;
use crate::domain::policy::PollStep;
use crate::domain::spending::{Amount, Budget, Rules};
use crate::engine::account::{AccountSetup, Limits};
use crate::engine::backup::BackupPlan;
use crate::engine::intake::{Intake, JobRequest};
use crate::engine::timetable;
use crate::guard::{Allowed, SystemNames};
use crate::http::{AnswerBudget, Client, ClientError, ClientSettings};
use crate::sinks::{Format, Plan, SinkSetup, TransportSetup};
use crate::vendors::registry::{self, Settings};
use crate::vendors::{Common, alta, rlab, tronk, vagvin};

/// The accounts as the engine wants them.
pub fn account_setups(config: &Config, clock: &SharedClock) -> Result<Vec<AccountSetup>, ClientError> {
    setups(config, &Masks::of(secrets_of(config)), &AnswerBudget::default(), clock)
}

/// Any secret may be echoed by any vendor, through a user's params for instance: all are masked everywhere.
pub fn secrets_of(config: &Config) -> Vec<String> {
    config.secrets().into_iter().map(|secret| secret.expose_secret().to_owned()).collect()
}

pub fn setups(
    config: &Config,
    masks: &Masks,
    budget: &AnswerBudget,
    clock: &SharedClock,
) -> Result<Vec<AccountSetup>, ClientError> {
    config.accounts.values().map(|account| account_setup(account, masks, budget, clock)).collect()
}

fn account_setup(
    account: &Account,
    masks: &Masks,
    budget: &AnswerBudget,
    clock: &SharedClock,
) -> Result<AccountSetup, ClientError> {
    let settings = ClientSettings {
        base_url: account.common.base_url.as_str().to_owned(),
        reserve_url: reserve_url(&account.kind),
        timeout: account.common.timeout,
        masks: masks.clone(),
        names: Arc::new(SystemNames),
    };
    Ok(AccountSetup {
        name: account.name.clone(),
        vendor: account.kind.vendor(),
        driver: Arc::from(registry::open(driver_settings(account))),
        client: Client::new(settings, budget.clone(), Arc::clone(clock))?,
        limits: Limits {
            max_in_flight: account.common.limits.max_in_flight as usize,
            min_interval: account.common.limits.min_interval,
        },
        spending: Arc::new(spending_rules(account)),
        alert_after: match &account.kind {
            AccountKind::Rlab(rlab) => rlab.alert_after,
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => Duration::ZERO,
        },
        stale_after: match &account.kind {
            AccountKind::Alta(alta) => alta.stale_after,
            AccountKind::Rlab(rlab) => rlab.stale_after,
            AccountKind::Tronk(_) | AccountKind::Vagvin(_) => None,
        },
        advice: match &account.kind {
            AccountKind::Rlab(_) => Some(rlab::ADVICE),
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
        },
        hosts: match &account.kind {
            AccountKind::Rlab(rlab) => {
                Some(HostPolicy { reserve: rlab.reserve_url.is_some(), reserve_after: rlab.reserve_after })
            }
            AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
        },
    })
}

/// What the account's orders cost, and how many there may be.
fn spending_rules(account: &Account) -> Rules {
    let (name, common) = (&account.name, &account.common);
    for kind in common.prices.keys().filter(|kind| registry::kind(kind).is_none()) {
        tracing::warn!(account = name, kind, "a price is configured for a kind that does not exist; it has no effect");
    }
    let budget = common.budget;
    Rules {
        account: name.clone(),
        prices: common.prices.iter().map(|(kind, price)| (kind.clone(), Amount::of(*price))).collect(),
        budget: Budget {
            per_hour: budget.per_hour,
            per_day: budget.per_day,
            per_month: budget.per_month,
            amount_per_day: budget.amount_per_day.map(Amount::of),
            amount_per_month: budget.amount_per_month.map(Amount::of),
            utc_offset: budget.utc_offset,
        },
        same_order_window: common.same_order_window,
    }
}

fn reserve_url(kind: &AccountKind) -> Option<String> {
    match kind {
        AccountKind::Rlab(rlab) => rlab.reserve_url.as_ref().map(|url| url.as_str().to_owned()),
        AccountKind::Tronk(_) | AccountKind::Alta(_) | AccountKind::Vagvin(_) => None,
    }
}

/// The config's account as its vendor's driver wants it.
fn driver_settings(account: &Account) -> Settings {
    let common = Common {
        settle: if crash::is(Mutant::SettleZero) { Duration::ZERO } else { account.common.settle },
        resubmit: account.common.resubmit,
        pause_on: account.common.pause_on.clone(),
        loopback: account.common.base_url.is_loopback(),
    };
    match &account.kind {
        AccountKind::Tronk(it) => Settings::Tronk(tronk::Settings {
            poll: it.poll.iter().map(|step| PollStep { every: step.every, span: step.lasting }).collect(),
            ready_statuses: it.ready_statuses.clone(),
            failed_statuses: it.failed_statuses.clone(),
            download: it.download,
            ..tronk::Settings::new(common, it.key.clone())
        }),
        AccountKind::Alta(it) => Settings::Alta(alta::Settings {
            common,
            show_every: it.show_every,
            due_window: it.due_window,
            idle_every: it.idle_every,
            codes: it.codes.iter().map(|(code, meaning)| (*code, code_class(*meaning))).collect(),
            balance_every: it.balance_every,
            balance_low: Some(it.balance_low),
            ..alta::Settings::new(it.login.expose_secret(), it.sa.expose_secret(), it.password.clone())
        }),
        AccountKind::Rlab(it) => Settings::Rlab(rlab::Settings {
            common,
            content_type: it.content_type.clone(),
            unknown_after: it.unknown_after,
            poll_first: it.poll_first,
            poll_factor: it.poll_factor,
            poll_ceiling: it.poll_ceiling,
            poll_at_counter: it.poll_at_counter,
            batch_wait: it.batch_wait,
            grace: it.grace,
            reserve: it.reserve_url.is_some(),
            reserve_after: it.reserve_after,
            alert_after: it.alert_after,
            balance_every: it.balance_every,
            balance_low: Some(it.balance_low),
            ..rlab::Settings::new(it.user_id, it.user_key.clone())
        }),
        AccountKind::Vagvin(it) => Settings::Vagvin(vagvin::Settings {
            give_up: it.give_up,
            balance_every: it.balance_every,
            ..vagvin::Settings::new(common, it.token.clone())
        }),
    }
}

fn code_class(meaning: CodeMeaning) -> alta::CodeClass {
    match meaning {
        CodeMeaning::Transient => alta::CodeClass::Transient,
        CodeMeaning::Permanent => alta::CodeClass::Permanent,
        CodeMeaning::Pause => alta::CodeClass::Pause,
    }
}

/// What only the vendors' drivers can judge: the params of schedules.
pub fn check(config: &Config) -> Result<(), Problems> {
    let driver = |account: &Account| Arc::from(registry::open(driver_settings(account)));
    let drivers =
        config.accounts.values().map(|account| (account.name.clone(), (account.kind.vendor(), driver(account))));
    schedules(config, &Intake::new(drivers.collect())).map(drop)
}

/// The schedules with their jobs, as the drivers take them; or what they refuse, at its place in the configuration.
pub fn schedules(config: &Config, intake: &Intake) -> Result<Vec<timetable::Schedule>, Problems> {
    let (mut schedules, mut problems) = (Vec::new(), Vec::new());
    for schedule in &config.schedules {
        let request = JobRequest {
            kind: schedule.kind.clone(),
            params: schedule.params.clone(),
            account: schedule.account.clone(),
            dedupe_key: schedule.dedupe_key.clone(),
            priority: schedule.priority,
            not_before: None,
            deadline: None,
            tag: schedule.tag.clone(),
            uid: None,
        };
        match (intake.understand(&request), schedule.calendar.clone()) {
            (Ok(job), Some(calendar)) => schedules.push(timetable::Schedule {
                name: schedule.name.clone(),
                cron: schedule.cron.clone(),
                calendar,
                misfire: match schedule.misfire {
                    Misfire::Skip => timetable::Misfire::Skip,
                    Misfire::Once => timetable::Misfire::Once,
                },
                grace: schedule.grace,
                job,
            }),
            // A pattern that cannot be read does not come this far.
            (Ok(_), None) => problems.push(schedule.problem("/cron", "cannot be read")),
            (Err(found), _) => {
                let problem = |found: crate::engine::intake::FieldProblem| -> Problem {
                    schedule.problem(&found.pointer, found.message)
                };
                problems.extend(found.into_iter().map(problem));
            }
        }
    }
    if problems.is_empty() { Ok(schedules) } else { Err(Problems(problems)) }
}

pub fn backup_plan(backup: &Backup) -> Option<BackupPlan> {
    Some(BackupPlan { directory: backup.dir.clone()?, calendar: backup.calendar.clone()?, keep: backup.keep })
}

/// Webhooks and commands as their room wants them. `masks`: what is masked in what a command says.
pub fn sinks_plan(config: &Config, masks: &Masks) -> Plan {
    let webhooks = config.webhooks.iter().map(|webhook| SinkSetup {
        name: webhook.name.clone(),
        transport: TransportSetup::Webhook {
            url: webhook.url.whole.clone(),
            secrets: webhook.signing.clone(),
            format: match webhook.format {
                WebhookFormat::Standard => Format::Standard,
                WebhookFormat::CloudEvents => Format::CloudEvents,
            },
            allowed: Allowed { http: webhook.allow_http, private: webhook.allow_private },
        },
        filter: filter(&webhook.filter),
        max_in_flight: webhook.max_in_flight,
        timeout: webhook.timeout,
    });
    let commands = config.commands.iter().map(|command| SinkSetup {
        name: command.name.clone(),
        transport: TransportSetup::Command { run: command.run.clone() },
        filter: filter(&command.filter),
        max_in_flight: command.max_in_flight,
        timeout: command.timeout,
    });
    let sinks = webhooks.chain(commands).collect();
    Plan { sinks, masks: masks.clone(), kept: config.retention.calls }
}

fn filter(filter: &EventFilter) -> Filter {
    let EventFilter { types, kinds, accounts, tags } = filter.clone();
    Filter { types, kinds, accounts, tags }
}
