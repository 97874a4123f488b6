//! Ten thousand connections that do nothing.

use crate::harness::{CHAT, Connection, Place, chat, healthy_sim};

#[actix_web::test]
async fn ten_thousand_idle_connections_disturb_nobody() {
    let sim = healthy_sim(&["key-one-abcdefgh"]).await;
    // Nobody is thrown out for idling while the test counts.
    let place = Place::empty().serving(&sim, &["key-one-abcdefgh"]).with("HEADER_TIMEOUT_SECONDS", 120);
    let program = place.start();
    let wanted = 10_000.min(open_files_limit().saturating_sub(500));
    if wanted < 10_000 {
        println!("only {wanted} connections: the limit of open files is {}", open_files_limit());
    }

    let idle: Vec<Connection> = (0..wanted).map(|_| program.connect()).collect();

    for _ in 0..20 {
        assert_eq!(program.post(CHAT, chat("hello")).status(), 200);
    }
    let resident = resident_mb(program.process_id());
    println!("{} idle connections, resident memory {resident} MB", idle.len());
    assert!(resident < 500, "{resident} MB");
    drop(idle);
    assert_eq!(program.post(CHAT, chat("hello")).status(), 200);
}

fn open_files_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}

fn resident_mb(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
