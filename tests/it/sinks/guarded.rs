use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use opros::clock::ManualClock;
use opros::config::{Sources, load};
use opros::guard::{self, Allowed};
use opros::sinks::TransportSetup;

use super::house::{House, Receiver, Reply, SECRET, Told, start_of_time, webhook};

/// Spellings of this machine and of private networks.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.1",
    "127.0.0.1.",
    "127.255.255.254",
    "0",
    "0.0.0.0",
    "0x0",
    "00000000",
    "0.0.0.1",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "LocalHost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2001:0:7f00:1::]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[::ffff:0:7f00:1]",
    "10.0.0.1",
    "10.1",
    "167772161",
    "0xa000001",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "2886729729",
    "192.168.0.1",
    "192.168.1",
    "3232235521",
    "0xc0a80001",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "[::ffff:169.254.169.254]",
    "168.63.129.16",
    "100.64.0.1",
    "192.0.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
];

#[test]
fn sixty_spellings_of_private_addresses_are_refused_by_the_configuration_and_by_the_sink() {
    assert!(SPELLINGS.len() >= 60);
    for host in SPELLINGS {
        for (url, http) in [(format!("https://{host}/hook"), false), (format!("http://{host}/hook"), true)] {
            let refused = guard::check(&url, Allowed { http, private: false }).expect_err(&url);
            assert!(refused.contains("private network"), "{url}: {refused}");
            let text =
                format!("[[webhooks]]\nname = \"x\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\nallow_http = {http}\n");
            let said = load(&Sources::from_text(&text)).expect_err(&url).to_string();
            assert!(said.contains("opros.toml:3: webhooks[0].url: leads to this machine"), "{said}");
        }
    }
}

#[test]
fn users_ports_schemes_and_fragments_are_refused_with_what_to_do() {
    let told = |url: &str| guard::check(url, Allowed::default()).expect_err(url);
    assert!(told("http://shop.example/").contains("allow_http"));
    assert!(told("https://user:pass@shop.example/").contains("user"));
    assert!(told("https://shop.example:22/").contains("443 or 8443"));
    assert!(told("https://shop.example/#x").contains("fragment"));
    for wrong in ["", "shop.example", "ftp://shop.example/", "https:shop.example", "file:///etc/passwd", "https://"] {
        assert!(told(wrong).contains("must be an address"), "{wrong}");
    }
    assert!(guard::check("https://shop.example:8443/hook?x=1", Allowed::default()).is_ok());
    assert!(guard::check("http://10.0.0.5:9000/hook", Allowed { http: true, private: true }).is_ok());
}

/// What a delivery to a name says that resolves to these, one list after the other.
async fn tried(answers: Vec<Vec<&str>>) -> String {
    let answers = answers.iter().map(|list| list.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect()).collect();
    let clock = ManualClock::new(start_of_time());
    let mut setup = webhook("shop", "https://shop.example/hook?token=s3cret");
    if let TransportSetup::Webhook { allowed, .. } = &mut setup.transport {
        *allowed = Allowed::default();
    }
    let names = Arc::new(Told(Mutex::new(answers)));
    let house = House::open(tempfile::tempdir().unwrap(), clock, vec![setup], names).await;
    house.followed(None).await;
    house.tried("shop").await;
    let delivery = house.deliveries("shop").await.remove(0);
    let message = delivery.error.unwrap().message;
    assert!(!message.contains("s3cret") && !message.contains("shop.example"), "{message}");
    message
}

#[tokio::test]
async fn a_name_that_leads_home_is_never_connected_to_not_even_among_good_answers() {
    for addresses in
        [vec!["127.0.0.1"], vec!["::1"], vec!["10.0.0.7"], vec!["169.254.169.254"], vec!["::ffff:10.0.0.1"]]
    {
        assert!(tried(vec![addresses]).await.contains("private network"));
    }
    assert!(tried(vec![vec!["8.8.8.8", "127.0.0.1"]]).await.contains("private network"));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_vetted_at_every_connection() {
    // 192.0.2.0/24 is nobody's; what is not public is refused, whenever the name turns to it.
    let clock = ManualClock::new(start_of_time());
    let mut setup = webhook("shop", "https://shop.example/hook");
    setup.timeout = std::time::Duration::from_millis(100);
    if let TransportSetup::Webhook { allowed, .. } = &mut setup.transport {
        *allowed = Allowed::default();
    }
    let lists = [vec!["10.0.0.1"], vec!["127.0.0.1"]];
    let answers = lists.map(|list| list.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect()).to_vec();
    let house =
        House::open(tempfile::tempdir().unwrap(), clock, vec![setup], Arc::new(Told(Mutex::new(answers)))).await;
    house.followed(None).await;
    house.tried("shop").await;
    for _ in 0..2 {
        assert!(house.next("shop").await);
        let error = house.deliveries("shop").await.remove(0).error.unwrap();
        assert!(error.message.contains("private network"), "{}", error.message);
    }
}

#[tokio::test]
async fn one_s_own_network_is_reached_where_it_is_allowed() {
    let clock = ManualClock::new(start_of_time());
    let receiver = Receiver::start(clock.clone(), |_| Reply::Status(200)).await;
    let url = format!("http://shop.internal:{}/hook", receiver.address.port());
    let names = Arc::new(Told(Mutex::new(vec![vec![receiver.address.ip()]])));
    let house = House::open(tempfile::tempdir().unwrap(), clock, vec![webhook("shop", &url)], names).await;
    house.followed(None).await;
    house.until("it arrives", async || house.sink("shop").await.delivered == 1).await;
}
