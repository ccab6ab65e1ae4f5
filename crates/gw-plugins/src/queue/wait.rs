//! How those wait who take entries out: without a runtime, by wakers and by the sleep that is lent.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Core, State};

impl Core {
    /// The next batch, which is to be told to be [done](Core::is_done); none if the queue is closed and empty.
    pub(super) async fn batch(&self) -> Option<Vec<Bytes>> {
        loop {
            if !poll_fn(|cx| self.poll_begun(cx)).await {
                return None;
            }
            let patience = self.settings.patience();
            if !patience.is_zero() {
                let mut late = self.lender.tasks().sleep(patience);
                poll_fn(|cx| match self.poll_full(cx) {
                    Poll::Ready(()) => Poll::Ready(()),
                    Poll::Pending => late.as_mut().poll(cx),
                })
                .await;
            }
            let mut state = self.state();
            let count = state.waiting.len().min(self.settings.max_batch_size);
            let batch: Vec<Bytes> = state.waiting.drain(..count).collect();
            if !batch.is_empty() {
                state.bytes -= batch.iter().map(Bytes::len).sum::<usize>();
                state.under_way += 1;
                state.dropping = false;
                return Some(batch);
            }
            // Another was quicker.
        }
    }

    /// The batch that was taken last is no longer under way.
    pub(super) fn is_done(&self) {
        let mut state = self.state();
        state.under_way -= 1;
        if state.is_empty() {
            state.hurried = false;
            let watchers = std::mem::take(&mut state.watchers);
            drop(state);
            watchers.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends when nothing is in the queue or under way. Until then no batch waits to be filled.
    pub(super) async fn emptied(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.is_empty() {
                return Poll::Ready(());
            }
            keep(&mut state.watchers, cx);
            state.hurried = true;
            let takers = std::mem::take(&mut state.takers);
            drop(state);
            takers.into_iter().for_each(Waker::wake);
            Poll::Pending
        })
        .await;
    }

    /// Whether there is an entry; otherwise the queue is closed.
    fn poll_begun(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if !state.waiting.is_empty() {
            return Poll::Ready(true);
        }
        if state.closed {
            return Poll::Ready(false);
        }
        keep(&mut state.takers, cx);
        Poll::Pending
    }

    fn poll_full(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.waiting.len() >= self.settings.full_batch() || state.closed || state.hurried {
            return Poll::Ready(());
        }
        keep(&mut state.takers, cx);
        Poll::Pending
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }
}

fn keep(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}
