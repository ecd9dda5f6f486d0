//! What many ask and one task does, in the order in which it came.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

/// A bounded queue with the one end that its task takes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<T>,
    receiver: Mutex<Option<mpsc::Receiver<T>>>,
}

/// The task has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended;

impl<T> Queue<T> {
    /// With so many places.
    pub(crate) fn new(places: usize) -> Self {
        let (sender, receiver) = mpsc::channel(places);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }

    /// Waits for a place.
    pub(crate) async fn put(&self, item: T) -> Result<(), Ended> {
        self.sender.send(item).await.map_err(|_| Ended)
    }

    /// What its task reads from; once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<T>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
