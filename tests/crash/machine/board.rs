//! The scoreboard of a machine's faults, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::life::Outcome;
use crate::checker::INVARIANTS;

#[derive(Debug)]
pub struct Board {
    campaign: &'static str,
    seed: u64,
    worlds: usize,
    void: usize,
    missed: usize,
    faults: usize,
    times: usize,
    /// By what was done, and by how the life ended.
    by_fault: BTreeMap<String, BTreeMap<String, usize>>,
    breaches: BTreeMap<&'static str, usize>,
    shown: Vec<String>,
}

impl Board {
    pub fn new(campaign: &'static str, seed: u64) -> Board {
        let (by_fault, breaches) = (BTreeMap::new(), BTreeMap::new());
        Board {
            campaign,
            seed,
            worlds: 0,
            void: 0,
            missed: 0,
            faults: 0,
            times: 0,
            by_fault,
            breaches,
            shown: Vec::new(),
        }
    }

    pub fn add(&mut self, outcome: &Outcome) {
        self.worlds += 1;
        self.missed += outcome.missed;
        for fault in &outcome.faults {
            self.faults += 1;
            self.times += fault.times;
            *self.by_fault.entry(fault.what.clone()).or_default().entry(fault.end.clone()).or_default() += 1;
        }
        if outcome.void {
            self.void += 1;
            return;
        }
        for breach in &outcome.breaches {
            *self.breaches.entry(breach.invariant).or_default() += 1;
            let kept = outcome.kept.as_ref().map(|dir| format!(" [{}]", dir.display())).unwrap_or_default();
            let (seed, number) = (self.seed, outcome.plan.number);
            self.shown.push(format!(
                "{} {}\n      {} --seed {seed} --replay {number}{kept}",
                breach.invariant, breach.evidence, self.campaign
            ));
        }
    }

    pub fn faults(&self) -> usize {
        self.faults
    }

    pub fn is_clean(&self) -> bool {
        self.breaches.is_empty()
    }

    fn ends(&self) -> BTreeMap<&str, usize> {
        let mut ends = BTreeMap::new();
        for (end, count) in self.by_fault.values().flatten() {
            *ends.entry(end.as_str()).or_default() += count;
        }
        ends
    }

    pub fn json(&self, took: Duration) -> Value {
        let of = |name: &str| self.breaches.get(name).copied().unwrap_or(0);
        json!({
            "campaign": self.campaign, "seed": self.seed, "seconds": took.as_secs(), "worlds": self.worlds, "void": self.void,
            "faults": self.faults, "times": self.times, "not_reached": self.missed, "ends": self.ends(),
            "by_fault": self.by_fault,
            "breaches": INVARIANTS.iter().map(|(name, _)| (*name, of(name))).collect::<BTreeMap<_, _>>(),
            "shown": self.shown,
        })
    }

    pub fn print(&self, took: Duration) {
        println!(
            "\n{}, seed {}: {} faults ({} times in all) in {} worlds, {:.0} s; {} lives ended before theirs came, {} worlds void",
            self.campaign,
            self.seed,
            self.faults,
            self.times,
            self.worlds,
            took.as_secs_f64(),
            self.missed,
            self.void
        );
        for (fault, ends) in self.by_fault.iter().take(60) {
            let count: usize = ends.values().sum();
            let ends = ends.iter().map(|(end, count)| format!("{count} {end}")).collect::<Vec<_>>().join(", ");
            println!("  {fault:<28} {count:>5}: {ends}");
        }
        for (name, words) in INVARIANTS {
            let broken = self.breaches.get(name).copied().unwrap_or(0);
            let told = if broken == 0 { "held".to_owned() } else { format!("BROKEN {broken} times") };
            println!("  {name:<4} {words:<72} {told}");
        }
        self.shown.iter().take(20).for_each(|shown| println!("    {shown}"));
    }
}

/// One world, for whoever looks on.
pub fn tell(outcome: &Outcome) {
    println!("{:.1} s  world {} (variant {})", outcome.seconds, outcome.plan.number, outcome.plan.variant);
    for trouble in &outcome.plan.troubles {
        println!("    {}", trouble.words());
    }
    for fault in &outcome.faults {
        println!("    struck: {} x{}: {}", fault.what, fault.times, fault.end);
    }
    for breach in &outcome.breaches {
        println!("    {} {}{}", breach.invariant, breach.evidence, if outcome.void { " (void)" } else { "" });
    }
}
