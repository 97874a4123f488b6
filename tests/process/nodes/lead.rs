//! What one node does for all.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Pool, admin, alive, direct, is_connected, look, redis::Relay, within};
use crate::harness::{Program, eventually};

/// How long a node has the lead without a sign of life, and until the next one asks for it.
const TAKEN_OVER: Duration = Duration::from_secs(5 + 1);

/// The node that has the lead, as this one sees it.
fn leaders(node: &Program) -> Vec<String> {
    let nodes = look(node, "nodes");
    let items = nodes["items"].as_array().expect("a list").iter().filter(|node| node["leads"] == true);
    items.map(|node| node["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// How often it has done that.
fn runs(node: &Program, task: &str) -> u64 {
    let actors = look(node, "actors");
    let actors = actors["items"].as_array().expect("a list").clone();
    let scheduler = actors.iter().find(|actor| actor["name"] == "scheduler").expect("the scheduler");
    let tasks = scheduler["snapshot"].as_array().expect("tasks").clone();
    let task = tasks.iter().find(|other| other["name"] == task).expect("the task");
    task["runs"].as_u64().expect("a number")
}

#[actix_web::test]
async fn one_node_does_what_is_to_be_done_once_and_another_takes_over_when_it_is_killed() {
    let pool = Pool::new().await;
    let mut north = pool.node("north", &direct()).start();
    eventually("it leads", || is_connected(&north) && leaders(&north) == ["north"]);
    let mut south = pool.node("south", &direct()).start();
    eventually("they see each other", || alive(&south) == ["north", "south"]);
    eventually("both know who leads", || leaders(&north) == ["north"] && leaders(&south) == ["north"]);

    let (purging, sampling) = ("purging of deleted keys", "states of keys");
    let deadline = Instant::now() + Duration::from_secs(90);
    while runs(&north, purging) == 0 || runs(&north, sampling) == 0 {
        assert!(Instant::now() < deadline, "a minute has passed");
        thread::sleep(Duration::from_millis(200));
    }
    thread::sleep(Duration::from_secs(1));
    assert_eq!((runs(&south, purging), runs(&south, sampling)), (0, 0));

    north.signal("KILL");
    north.wait();
    let took =
        within(TAKEN_OVER + Duration::from_secs(2), "the other one leads", || leaders(&south) == ["south"]);
    println!("the lead of a killed node was taken over after {took:?}");

    let north = pool.node("north", &direct()).start();
    eventually("it is back, and follows", || is_connected(&north) && leaders(&north) == ["south"]);
    south.signal("TERM");
    south.wait();
    let took = within(Duration::from_secs(3), "the lead was given back", || leaders(&north) == ["north"]);
    println!("the lead of a stopped node was taken over after {took:?}");
}

#[actix_web::test]
async fn a_node_that_is_alone_or_has_lost_redis_leads_itself() {
    let pool = Pool::new().await;
    let relay = Relay::start();
    let north = pool.node("north", &direct()).start();
    eventually("it leads", || is_connected(&north) && leaders(&north) == ["north"]);
    let south = pool.node("south", &relay.url()).start();
    eventually("it follows", || is_connected(&south) && leaders(&south) == ["north"]);

    relay.cut();
    eventually("it does what is to be done by itself", || leaders(&south).contains(&"south".to_owned()));
    relay.mend();
    eventually("it follows again", || leaders(&south) == ["north"]);

    let alone = Pool::new().await;
    let alone = alone.node("alone", "").start();
    assert_eq!(leaders(&alone), ["alone"]);
    assert_eq!(admin(&alone, "GET", "system", &json!(null)).json()["redis"], json!(null));
}
