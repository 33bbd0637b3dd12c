//! A task that ends with whoever started it.

use std::future::Future;

use tokio::task::JoinHandle;

/// A task on the current runtime. It is aborted when this is dropped.
pub struct Task(JoinHandle<()>);

impl Task {
    /// Starts it.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Whether it has come to its end.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
