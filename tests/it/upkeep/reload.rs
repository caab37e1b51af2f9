//! Settings that change while the daemon runs.

use opros::cli::failure::Failure;
use opros::simulator::{Fault, FaultPlan, FaultRule};
use serde_json::{Value, json};

use super::house::{House, until};

async fn reload(house: &House) -> Value {
    house.write();
    house.client().post(&["v1", "reload"], &json!({})).await.unwrap().read().unwrap()
}

fn what(reloaded: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    reloaded["changed"].as_array().unwrap().iter().map(|c| (text(&c["what"]), text(&c["how"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(what, how)| ((*what).to_owned(), (*how).to_owned())).collect()
}

#[tokio::test]
async fn accounts_limits_schedules_and_retention_change_without_a_restart() {
    let mut house = House::new("").await;
    assert_eq!(reload(&house).await["changed"], json!([]), "nothing is different");
    house.limits = "limits = { max_in_flight = 2 }".to_owned();
    house.more = format!(
        "{}[retention]\nfinished = \"9d\"\n[log]\nformat = \"json\"\n[[schedules]]\nname = \"daily\"\ncron = \"0 8 * * *\"\n\
         kind = \"tronk.report\"\naccount = \"second\"\nparams = {{ phone = \"79990000111\" }}\n",
        house.account("second", "")
    );
    let reloaded = reload(&house).await;
    let expected = pairs(&[
        ("accounts.second", "added"),
        ("accounts.tronk", "changed"),
        ("schedules.daily", "added"),
        ("retention", "changed"),
    ]);
    assert_eq!(what(&reloaded), expected, "{reloaded}");
    assert_eq!(reloaded["changed"][1]["fields"], json!(["limits"]));
    assert_eq!(reloaded["restart"], json!(["log.format"]));
    let accounts = house.get(&["v1", "accounts"]).await;
    assert_eq!(accounts["accounts"][1]["limits"]["max_in_flight"], 2);
    let schedules = house.get(&["v1", "schedules"]).await;
    assert_eq!(
        (&schedules["schedules"][0]["name"], &schedules["schedules"][0]["account"]),
        (&json!("daily"), &json!("second"))
    );
    let order = json!({ "kind": "tronk.report", "account": "second", "params": { "phone": "79990000111" } });
    let job: Value = house.client().post(&["v1", "jobs"], &order).await.unwrap().read().unwrap();
    house.until_state(job["id"].as_i64().unwrap(), "succeeded").await;

    house.more.clear();
    let expected = pairs(&[("accounts.second", "removed"), ("schedules.daily", "removed"), ("retention", "changed")]);
    assert_eq!(what(&reload(&house).await), expected);
    let refused = house.client().post(&["v1", "jobs"], &order).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused { status: 422, .. }));
}

/// The cause is the restart that the account needs: its schedule is not wrong, and the rest of the file counts.
#[tokio::test]
async fn a_schedule_of_an_account_that_needs_a_restart_is_named_with_it_and_stops_no_reload() {
    for account in ["account = \"later\"\n", ""] {
        let mut house = House::new("").await;
        house.limits = "limits = { max_in_flight = 2 }".to_owned();
        house.more = format!(
            "[accounts.later]\nvendor = \"vagvin\"\nbase_url = \"http://127.0.0.1:9\"\ntoken = \"a-token-of-some-length\"\n\
             callback_secret = \"a-secret-of-some-length\"\n[[schedules]]\nname = \"nightly\"\ncron = \"0 8 * * *\"\n\
             kind = \"vagvin.balance\"\n{account}params = {{}}\n"
        );
        let reloaded = reload(&house).await;
        let restart = reloaded["restart"].to_string();
        assert!(restart.contains("accounts.later") && restart.contains("schedules.nightly"), "{reloaded}");
        assert_eq!(what(&reloaded), pairs(&[("accounts.tronk", "changed")]));
    }
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_says_where_it_is_wrong() {
    let mut house = House::new("").await;
    house.limits = "limits = { max_in_flight = 2 }".to_owned();
    house.more =
        "[[schedules]]\nname = \"x\"\ncron = \"0 8 * * *\"\nkind = \"tronk.report\"\nparams = { phone = \"12\" }\n"
            .to_owned();
    house.write();
    let refused = house.client().post(&["v1", "reload"], &json!({})).await.unwrap_err();
    let Failure::Refused { status: 422, problem } = refused else { panic!("{refused}") };
    let raw: Value = serde_json::from_str(&problem.raw.unwrap()).unwrap();
    assert_eq!(raw["type"], "urn:opros:problem:bad-config");
    assert_eq!(raw["pointer"], "/schedules/0/params/phone", "{raw}");
    assert!(raw["errors"][0]["detail"].as_str().unwrap().contains("opros.toml:1"), "{raw}");
    let accounts = house.get(&["v1", "accounts"]).await;
    assert_ne!(accounts["accounts"][0]["limits"]["max_in_flight"], 2, "nothing was changed");
}

#[tokio::test]
async fn a_submit_under_way_is_not_cut_by_a_reload_and_its_account_comes_back_as_it_was() {
    let mut house = House::new("").await;
    let rule = FaultRule::on("tronk", "setqueue", Fault::Slow { ms: 400 });
    house.simulator.control().set_faults(FaultPlan::one(rule)).unwrap();
    let job = house.order(json!({ "phone": "79990000111" })).await;
    house.until_state(job, "submitting").await;
    // The account goes away while its order is on its way, and comes back.
    let sections = std::fs::read_to_string(house.write()).unwrap();
    let without = sections.split("[accounts.tronk]").next().unwrap().to_owned();
    std::fs::write(house.path("opros.toml"), without).unwrap();
    let reloaded: Value = house.client().post(&["v1", "reload"], &json!({})).await.unwrap().read().unwrap();
    assert_eq!(what(&reloaded), pairs(&[("accounts.tronk", "removed")]));
    until("its answer is stored", async || house.state(job).await == "waiting").await;
    house.limits = "limits = { max_in_flight = 2 }".to_owned();
    assert_eq!(what(&reload(&house).await), pairs(&[("accounts.tronk", "added")]));
    house.until_state(job, "succeeded").await;
    let paid = house.simulator.control().state()["requests"]["tronk.setqueue"].as_u64();
    assert_eq!(paid, Some(1));
}

#[tokio::test]
async fn webhooks_commands_prices_and_documents_follow_a_reload() {
    let mut house = House::new("").await;
    let told = house.path("told");
    let secret = |byte: u8| format!("whsec_{}", base64_of(&[byte; 24]));
    let hook = |query: &str, secret: &str| {
        format!(
            "[[webhooks]]\nname = \"shop\"\nurl = \"http://127.0.0.1:9/hook?{query}\"\nsecret = \"{secret}\"\n\
             allow_http = true\nallow_private = true\n"
        )
    };
    let command = format!("[[commands]]\nname = \"note\"\nrun = [\"/usr/bin/tee\", \"-a\", \"{}\"]\n", told.display());
    house.more = format!("{}{command}", hook("a", &secret(1)));
    assert_eq!(what(&reload(&house).await), pairs(&[("webhooks.shop", "added"), ("commands.note", "added")]));
    let names = |page: &Value| -> Vec<String> {
        page["webhooks"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&house.get(&["v1", "webhooks"]).await), ["note", "shop"]);
    let job = house.order(json!({ "phone": "79990000111" })).await;
    house.until_state(job, "succeeded").await;
    until("the program was told", async || {
        std::fs::read_to_string(&told).is_ok_and(|text| text.contains("job.succeeded"))
    })
    .await;

    // What is hidden from view is seen to differ, and is not shown.
    house.more = format!("{}{command}", hook("b", &secret(2)));
    let reloaded = reload(&house).await;
    assert_eq!(
        reloaded["changed"],
        json!([{ "what": "webhooks.shop", "how": "changed", "fields": ["secret", "url"] }])
    );
    house.limits =
        "prices = { \"tronk.report\" = 30 }\nbudget = { per_day = 1 }\ndownload = true\ndownload_limit = \"64MiB\""
            .to_owned();
    house.more = command.clone();
    let reloaded = reload(&house).await;
    assert_eq!(what(&reloaded), pairs(&[("accounts.tronk", "changed"), ("webhooks.shop", "removed")]));
    assert_eq!(names(&house.get(&["v1", "webhooks"]).await), ["note"]);
    assert_eq!(house.get(&["v1", "costs"]).await["budgets"][0]["most"], 1.0);
    let missing = house.client().get(&["v1", "webhooks", "shop", "deliveries"], &[]).await.unwrap_err();
    assert!(matches!(missing, Failure::Refused { status: 404, .. }));
    // The day's budget is used up by the first order: a reload that gives room lets the next one go.
    let held = house.order(json!({ "phone": "79990000112" })).await;
    assert_eq!(house.state(held).await, "queued");
    house.limits = house.limits.replace("per_day = 1", "per_day = 5");
    assert_eq!(what(&reload(&house).await), pairs(&[("accounts.tronk", "changed")]));
    house.until_state(held, "succeeded").await;
    until("its document is saved", async || {
        !house.get(&["v1", "jobs", &held.to_string()]).await["files"].as_array().is_none_or(Vec::is_empty)
    })
    .await;

    // A wrong file changes nothing of them.
    house.more = format!("{command}{}", hook("c", "whsec_short"));
    house.write();
    let refused = house.client().post(&["v1", "reload"], &json!({})).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused { status: 422, .. }));
    assert_eq!(names(&house.get(&["v1", "webhooks"]).await), ["note"]);
}

fn base64_of(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}
