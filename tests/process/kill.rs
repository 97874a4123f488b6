//! kill -9 under load: what was judged and logged is still there.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use gemini_balance::db::{Database, request_logs};

use crate::harness::{GENERATE, Place, eventually, healthy_sim, native};

const GOOD: &str = "key-good-abcdefgh";
const DEAD: &str = "key-dead-abcdefgh";

#[actix_web::test]
async fn a_kill_under_load_loses_a_second_of_log_rows_and_nothing_else() {
    // Only one of the two keys exists at Google.
    let sim = healthy_sim(&[GOOD]).await;
    let place = Place::empty().serving(&sim, &[GOOD, DEAD]);
    let mut program = place.start();
    let is_over = AtomicBool::new(false);
    let (answered, settled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if program.post(GENERATE, native("hello")).status() == 200 {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        eventually("the dead key is judged", || program.get("/ready").json()["keys"]["invalid"] == 1);
        let before = answered.load(Ordering::Relaxed);
        eventually("some traffic", || answered.load(Ordering::Relaxed) > before + 200);
        settled.store(answered.load(Ordering::Relaxed), Ordering::Relaxed);
        // One second: what had been answered before must be on disk afterwards.
        thread::sleep(Duration::from_secs(1));
        // Nobody asks a program that is gone; those who have asked it already are cut off.
        is_over.store(true, Ordering::Relaxed);
        program.signal("KILL");
    });
    program.wait();

    let database = Database::open(&place.folder.path().join("data/default_db")).expect("the database opens");
    let rows = database.read_blocking(|conn| request_logs::list_request_logs(conn, 1_000_000)).unwrap().len();
    drop(database);
    assert!(
        rows >= settled.load(Ordering::Relaxed),
        "{rows} rows of {settled:?} requests, {answered:?} in all"
    );

    let again = place.start();
    let keys = again.get("/ready").json()["keys"].clone();
    assert_eq!((&keys["active"], &keys["invalid"]), (&1.into(), &1.into()), "{keys}");
}
