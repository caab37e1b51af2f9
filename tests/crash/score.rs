//! The scoreboard, for people and for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::checker::INVARIANTS;
use super::play::{Outcome, Plan};
use super::world::Failure;

#[derive(Debug, Default)]
pub struct Score {
    pub worlds: usize,
    pub kills: usize,
    missed: usize,
    void: usize,
    at_points: usize,
    at_suspensions: usize,
    in_recovery: usize,
    /// Every named point that any life passed, and how often one died there.
    passed: BTreeSet<String>,
    by_point: BTreeMap<String, usize>,
    by_task: BTreeMap<String, usize>,
    breaches: BTreeMap<&'static str, usize>,
    /// What broke, with the words that play it again.
    shown: Vec<String>,
}

/// What plays a world again.
pub fn words(plan: &Plan) -> String {
    let short = if plan.short { " short" } else { "" };
    let minute = if plan.wait_for_minute { " minute" } else { "" };
    format!("seed={} variant={} deaths={}{short}{minute}", plan.seed, plan.variant, plan.deaths.join(","))
}

pub fn read_words(text: &str) -> Result<Plan, Failure> {
    let mut plan = Plan::new(1, 0, Vec::new());
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some(("seed", n)) => plan.seed = n.parse()?,
            Some(("variant", n)) => plan.variant = n.parse()?,
            Some(("deaths", all)) => {
                plan.deaths = all.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect()
            }
            None if word == "short" => plan.short = true,
            None if word == "minute" => plan.wait_for_minute = true,
            _ => return Err(format!("{word:?} is none of seed=N variant=N deaths=A,B,… short minute").into()),
        }
    }
    Ok(plan)
}

impl Score {
    pub fn add(&mut self, outcome: &Outcome) {
        self.worlds += 1;
        self.missed += outcome.missed;
        self.passed.extend(outcome.passed.iter().cloned());
        for kill in &outcome.kills {
            self.kills += 1;
            self.in_recovery += usize::from(kill.life > 0);
            if kill.sort == "point" {
                self.at_points += 1;
                *self.by_point.entry(kill.name.clone()).or_default() += 1;
            } else {
                self.at_suspensions += 1;
                *self.by_task.entry(kill.name.clone()).or_default() += 1;
            }
        }
        if outcome.void {
            self.void += 1;
            return;
        }
        for breach in &outcome.breaches {
            *self.breaches.entry(breach.invariant).or_default() += 1;
            let kept = outcome.kept.as_ref().map(|dir| format!(" [{}]", dir.display())).unwrap_or_default();
            self.shown.push(format!(
                "{} {}\n      --replay '{}'{kept}",
                breach.invariant,
                breach.evidence,
                words(&outcome.plan)
            ));
        }
    }

    /// The points that were passed or, like `also`, must be, and were never died at.
    pub fn not_died_at(&self, also: &BTreeSet<String>) -> BTreeSet<String> {
        self.passed.union(also).filter(|name| !self.by_point.contains_key(*name)).cloned().collect()
    }

    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }

    pub fn json(&self, seed: u64, took: Duration) -> Value {
        let of = |name: &str| self.breaches.get(name).copied().unwrap_or(0);
        json!({
            "seed": seed, "seconds": took.as_secs(), "worlds": self.worlds, "void": self.void, "kills": self.kills,
            "at_points": self.at_points, "at_suspensions": self.at_suspensions, "in_recovery": self.in_recovery,
            "not_reached": self.missed, "by_point": self.by_point, "by_task": self.by_task,
            "breaches": INVARIANTS.iter().map(|(name, _)| (*name, of(name))).collect::<BTreeMap<_, _>>(),
            "shown": self.shown,
        })
    }

    pub fn print(&self, seed: u64, took: Duration) {
        let rate = self.kills as f64 / took.as_secs_f64().max(0.001);
        println!(
            "\nseed {seed}: {} kills in {} worlds, {:.0} s, {rate:.1} kills a second",
            self.kills,
            self.worlds,
            took.as_secs_f64()
        );
        println!(
            "  {} at named points ({} of them), {} at suspensions ({} tasks); {} while recovering from an earlier kill",
            self.at_points,
            self.by_point.len(),
            self.at_suspensions,
            self.by_task.len(),
            self.in_recovery
        );
        println!(
            "  {} lives ended before their point came, {} worlds void (the machine was too slow for the played vendor)",
            self.missed, self.void
        );
        for (name, words) in INVARIANTS {
            let broken = self.breaches.get(name).copied().unwrap_or(0);
            println!(
                "  {name:<4} {words:<72} {}",
                if broken == 0 { "held".to_owned() } else { format!("BROKEN {broken} times") }
            );
        }
        for shown in self.shown.iter().take(20) {
            println!("    {shown}");
        }
    }

    pub fn write(&self, path: Option<&Path>, extra: Value) -> Result<(), Failure> {
        if let Some(path) = path {
            std::fs::write(path, serde_json::to_string_pretty(&extra)?)?;
        }
        Ok(())
    }
}
