//! Requests to the API server, counted and timed as CoreDNS's client has it: how long each takes,
//! and how long it waited for its turn before.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use tower::{Layer, Service};

use crate::metrics::own::OWN;

/// CoreDNS's word for a request without a response.
const NO_RESPONSE: &str = "<error>";

/// Counts the requests to one host.
#[derive(Clone)]
pub(super) struct Measure {
    host: Arc<str>,
}

impl Measure {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.into() }
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Measured {
            inner,
            host: Arc::clone(&self.host),
        }
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub(super) struct Measured<S> {
    inner: S,
    host: Arc<str>,
}

impl<S, In, Out> Service<Request<In>> for Measured<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (method, host) = (request.method().clone(), Arc::clone(&self.host));
        let begin = Instant::now();
        let asking = self.inner.call(request);
        Box::pin(async move {
            let result = asking.await;
            let code = match &result {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => NO_RESPONSE.to_owned(),
            };
            let method = method.as_str();
            OWN.rest_requests
                .with_label_values(&[&*code, method, &host])
                .inc();
            OWN.rest_duration
                .with_label_values(&[method, &host])
                .observe(begin.elapsed().as_secs_f64());
            result
        })
    }
}

/// Times how long requests to one host wait for the limits that this is put around.
#[derive(Clone)]
pub(super) struct Queue {
    host: Arc<str>,
}

impl Queue {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.into() }
    }
}

impl<S> Layer<S> for Queue {
    type Service = Queued<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Queued {
            inner,
            host: Arc::clone(&self.host),
            since: None,
        }
    }
}

/// A client whose requests wait for their turn.
pub(super) struct Queued<S> {
    inner: S,
    host: Arc<str>,
    /// When the next request came.
    since: Option<Instant>,
}

impl<S, Body> Service<Request<Body>> for Queued<S>
where
    S: Service<Request<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.since.get_or_insert_with(Instant::now);
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let waited = self.since.take().map(|since| since.elapsed());
        OWN.rest_waits
            .with_label_values(&[request.method().as_str(), &self.host])
            .observe(waited.unwrap_or_default().as_secs_f64());
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// Lets a request in when it is asked for the second time.
    struct Busy(bool);

    impl Service<Request<()>> for Busy {
        type Response = ();
        type Error = Infallible;
        type Future = Ready<Result<(), Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.0 = !self.0;
            if self.0 {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(()))
        }
    }

    #[test]
    fn what_waits_for_its_turn_is_timed() {
        const WAIT: Duration = Duration::from_millis(20);
        let mut queued = Queue::new("busy.test").layer(Busy(false));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(queued.poll_ready(&mut context).is_pending());
            std::thread::sleep(WAIT);
            assert!(queued.poll_ready(&mut context).is_ready());
            drop(queued.call(Request::new(())));
        }
        let waits = OWN.rest_waits.with_label_values(&["GET", "busy.test"]);
        assert_eq!(waits.get_sample_count(), 2);
        let sum = waits.get_sample_sum();
        assert!(sum >= 2.0 * WAIT.as_secs_f64(), "{sum}");
    }
}
