//! What costs nothing goes on while new orders are stopped, however many of them stand before it.

use opros::domain::{PauseSource, Reason, State};
use serde_json::json;

use crate::support::{TestDaemon, alta_account, minutes, wagon};

#[tokio::test(flavor = "multi_thread")]
async fn a_free_question_is_asked_although_hundreds_of_stopped_orders_stand_before_it() {
    for orders in [5, 700] {
        let daemon = TestDaemon::start(|sim| alta_account(sim, ""), |_| {}).await;
        let runner = daemon.engine().runner("alta").unwrap();
        let _ = runner.pause(PauseSource::Vendor, Reason::new("no_money", "no money"), true);
        let track = |n| json!({ "wagons": [wagon(n)], "track_state": "ru", "track_type": 2, "times": ["09:00"] });
        daemon.submit_all("alta.track", (0..orders).map(track)).await;
        daemon.settle().await;
        let question = daemon.submit("alta.track_list", json!({})).await;
        daemon.advance(minutes(1)).await;
        assert_eq!(daemon.job(question).await.state, State::Succeeded, "behind {orders} stopped orders");
        assert_eq!(daemon.calls("alta.add"), 0);
        daemon.engine().resume("alta").await.unwrap();
        daemon.advance(minutes(1)).await;
        assert!(daemon.calls("alta.add") > 0, "and the orders go once they may");
    }
}
