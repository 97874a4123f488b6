//! A thread with an actix system of its own, so that what runs in it can be stopped to the last thread.
//!
//! Servers leave threads behind when the system that started them merely ends, and a hundred gateways in one binary
//! would then run out of file descriptors.

use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

/// What runs ends when this is dropped, and the drop waits for it.
pub struct Host {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Runs `start` in a new system; what it returns is what `stop` gets when the time has come.
    pub async fn run<R, T, Started, Stopped>(
        start: impl FnOnce() -> Started + Send + 'static,
        stop: impl FnOnce(R) -> Stopped + Send + 'static,
    ) -> (T, Self)
    where
        T: Send + 'static,
        Started: Future<Output = (T, R)>,
        Stopped: Future<Output = ()>,
    {
        let (tell, told) = oneshot::channel();
        let (stop_now, is_told_to_stop) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let (handle, running) = start().await;
                if tell.send(handle).is_ok() {
                    let _ = is_told_to_stop.await;
                }
                stop(running).await;
            });
        });
        let handle = told.await.expect("the host has started");
        (handle, Self { stop: Some(stop_now), thread: Some(thread) })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a host panicked");
        }
    }
}
