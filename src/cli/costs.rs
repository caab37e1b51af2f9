//! `costs`: what was ordered, at what price, how sure, and whether the balances agree.

use super::Session;
use super::args::CostsArgs;
use super::client::read;
use super::exit::Exit;
use super::failure::Failure;
use super::jobs::say_table;
use super::output::{BOLD, BUSY, CARE, GOOD, styled};
use super::table::Table;
use super::text;
use super::wire::{CostLine, Costs};

pub async fn costs(session: &mut Session<'_>, args: CostsArgs) -> Result<Exit, Failure> {
    let given =
        [("from", args.from), ("to", args.to), ("account", args.account), ("kind", args.kind), ("tag", args.tag)];
    let mut query = vec![("by", args.by.join(","))];
    query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let answer = session.client.get(&["v1", "costs"], &query).await?;
    if session.term.json {
        session.term.say_json(&answer.body)?;
        return Ok(Exit::Ok);
    }
    let costs: Costs = answer.read()?;
    let shown: Vec<&str> = args.by.iter().map(|word| word.trim()).collect();
    let names = [("day", "DAY"), ("account", "ACCOUNT"), ("kind", "KIND"), ("tag", "TAG"), ("job", "JOB")];
    let mut header: Vec<&'static str> =
        names.iter().filter(|(word, _)| shown.contains(word)).map(|(_, title)| *title).collect();
    header.extend(["ORDERS", "AMOUNT", "NOTES"]);
    let mut table = Table::new(&header, header.len() - 3);
    for raw in &costs.costs {
        row(&mut table, &read(raw.get())?, &shown);
    }
    say_table(session, &table, "Nothing was ordered.")?;
    if costs.more {
        session.term.note("There is more; ask for a shorter time with --from and --to.")?;
    }
    say_the_rest(session, &costs)?;
    Ok(Exit::Ok)
}

fn row(table: &mut Table, line: &CostLine, shown: &[&str]) {
    let job = line.job.map(|job| job.to_string());
    let cells =
        [("day", &line.day), ("account", &line.account), ("kind", &line.kind), ("tag", &line.tag), ("job", &job)];
    let mut cells: Vec<String> = cells
        .into_iter()
        .filter(|(word, _)| shown.contains(word))
        .map(|(_, cell)| cell.clone().unwrap_or_else(|| "-".to_owned()))
        .collect();
    let amount = if line.unpriced == line.orders && line.amount == 0.0 { "?".to_owned() } else { money(line.amount) };
    let unsure = format!("{} not certain ({})", line.unsure, money(line.unsure_amount));
    let notes = [
        (line.unsure > 0).then_some(unsure),
        (line.unpriced > 0).then(|| format!("{} without a price", line.unpriced)),
        (line.free > 0).then(|| format!("{} more cost nothing", line.free)),
    ];
    cells.extend([line.orders.to_string(), amount, notes.into_iter().flatten().collect::<Vec<_>>().join(", ")]);
    table.row(if line.unsure > 0 { CARE } else { BUSY }, cells);
}

fn say_the_rest(session: &mut Session<'_>, costs: &Costs) -> Result<(), Failure> {
    if !costs.budgets.is_empty() {
        session.term.say(styled(BOLD, "Budgets"))?;
    }
    for budget in &costs.budgets {
        let style = if budget.used < budget.most { GOOD } else { CARE };
        let used = styled(style, format!("{} of {}", money(budget.used), money(budget.most)));
        let (what, window) = (text::line(&budget.what), text::line(&budget.window));
        session.term.say(format!("  {}: {used} {what} this {window}", text::line(&budget.account)))?;
    }
    if !costs.balances.is_empty() {
        session.term.say(styled(BOLD, "Balances"))?;
    }
    for balance in &costs.balances {
        let name = styled(if balance.agrees { GOOD } else { CARE }, text::line(&balance.account));
        session.term.say(format!("  {name}: {}", text::line(&balance.words)))?;
    }
    Ok(())
}

/// With kopecks only where there are some.
fn money(amount: f64) -> String {
    let text = format!("{amount:.2}");
    text.strip_suffix(".00").unwrap_or(&text).to_owned()
}
