//! Many threads, many models, little memory.

use std::thread;

use super::*;

#[test]
fn threads_that_reserve_at_once_never_take_more_than_there_is() {
    let now = noon();
    for _ in 0..50 {
        let ledger = by_hand(Some(100), Some(50_000), Some(1000), now);
        let taken: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| fill(&ledger, now))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });

        assert_eq!(taken, 100);
        let [minute, tokens, day] = ledger.usage(now)[0].windows;
        assert_eq!((minute.used, tokens.used, day.used), (100, 1000, 100));
    }
}

#[test]
fn threads_that_reserve_settle_and_refund_leave_the_true_sum() {
    let (now, model) = (noon(), flash());
    let ledger = unknown(now);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..3000 {
                    let reservation = ledger.reserve(&model, 100, now).unwrap();
                    if n % 3 == 0 {
                        ledger.refund(&model, reservation, now);
                    } else {
                        ledger.settle(&model, reservation, Some(40 + n % 3 * 50), now);
                    }
                }
            });
        }
    });

    let [minute, tokens, day] = ledger.usage(now)[0].windows;
    assert_eq!((minute.used, tokens.used, day.used), (8000, 4000 * 230, 8000));
}

#[test]
fn names_that_clients_make_up_push_out_nothing_that_was_learnt() {
    let (mut now, known) = (noon(), flash());
    let ledger = unknown(now);
    ledger.reserve(&known, 1, now).unwrap();
    ledger.exceeded(&known, &refused(QuotaWindow::Minute, QuotaMetric::Requests, Some(5)), now);

    for n in 0..500 {
        now = now.after(secs(1));
        ledger.reserve(&ModelName::parse(&format!("made-up-{n}")).unwrap(), 1, now).unwrap();
    }

    let usage = ledger.usage(now);
    assert_eq!(usage.len(), MAX_BOOKS);
    assert_eq!(usage.iter().filter(|model| model.model == known).count(), 1);
    assert!(usage.iter().any(|model| model.model.as_str() == "made-up-499"));
}

#[test]
fn names_that_clients_make_up_push_out_no_count_of_a_model_that_is_served() {
    let (mut now, real) = (noon(), flash());
    let ledger = by_hand(None, None, Some(100), now);
    let reservation = ledger.reserve(&real, 10, now).unwrap();
    ledger.settle(&real, reservation, Some(10), now);

    for n in 0..500 {
        now = now.after(secs(1));
        ledger.reserve(&ModelName::parse(&format!("made-up-{n}")).unwrap(), 1, now).unwrap();
    }

    let usage = ledger.usage(now);
    let known = usage.iter().find(|model| model.model == real).expect("its day is counted on");
    assert_eq!(known.windows[2].used, 1);
    // Nor does a restart forget which is which.
    let again = Ledger::restore(ledger.limits(), &ledger.snapshot(now), now);
    for n in 0..500 {
        now = now.after(secs(1));
        again.reserve(&ModelName::parse(&format!("made-up-again-{n}")).unwrap(), 1, now).unwrap();
    }
    assert!(again.usage(now).iter().any(|model| model.model == real));
}

#[test]
fn counting_tokens_takes_nothing_of_the_model_s_quotas() {
    let (now, model) = (noon(), flash());
    let ledger = by_hand(Some(1), Some(100), Some(1), now);
    for _ in 0..50 {
        ledger.reserve(&model.counting(), 90, now).unwrap();
        ledger.reserve(&ModelName::none(), 90, now).expect("nor do calls for no model");
    }

    assert!(ledger.reserve(&model, 90, now).is_ok());
    assert!(ledger.reserve(&model, 1, now).is_err());
    assert!(ledger.reserve(&model.counting(), 90, now).is_ok());
}

#[test]
fn what_was_reserved_in_a_book_that_is_gone_changes_nothing_in_the_next() {
    let (now, model) = (noon(), flash());
    let ledger = unknown(now);
    let old = ledger.reserve(&model, 500, now).unwrap();
    for n in 0..MAX_BOOKS {
        let name = ModelName::parse(&format!("other-{n}")).unwrap();
        ledger.reserve(&name, 1, now.after(secs(1))).unwrap();
    }
    let later = now.after(secs(2));
    ledger.reserve(&model, 10, later).unwrap();

    ledger.refund(&model, old, later);
    ledger.settle(&model, old, Some(9999), later);

    let usage = ledger.usage(later);
    let model = usage.iter().find(|found| found.model == model).unwrap();
    assert_eq!(model.windows.map(|window| window.used), [1, 10, 1]);
}

/// Bytes that a ledger with these books holds.
fn bytes(ledger: &Ledger) -> usize {
    let books = ledger.lock();
    let heap: usize = books.list.iter().map(|book| book.minute.heap_bytes()).sum();
    size_of::<Ledger>() + books.list.capacity() * size_of::<Book>() + heap
}

#[test]
fn an_active_model_takes_about_a_kilobyte_and_an_idle_one_next_to_nothing() {
    let (mut now, model) = (noon(), flash());
    let ledger = unknown(now);
    assert!(bytes(&ledger) <= 256, "{}", bytes(&ledger));

    // Fifteen a minute, as the free tier has them; then two a second, which fill every tick.
    for _ in 0..60 {
        ledger.reserve(&model, 1000, now).unwrap();
        now = now.after(secs(4));
    }
    let free = bytes(&ledger);
    for _ in 0..1000 {
        ledger.reserve(&model, 1000, now).unwrap();
        now = now.after(Duration::from_millis(100));
    }
    let busy = bytes(&ledger);
    ledger.snapshot(now.after(secs(61)));
    let idle = bytes(&ledger);

    assert!(free <= 768 && busy <= 1536 && idle <= 512, "{free} {busy} {idle}");
}
