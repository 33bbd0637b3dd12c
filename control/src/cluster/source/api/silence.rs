//! Connections to the API server that fall silent, although they are open.
//!
//! A server that hangs, or a network that swallows what is sent without a word, looks just like a
//! cluster in which nothing happens. But the server sends every watch a bookmark about once a
//! minute, whether there are changes or not; a list has no reason to pause at all. So a response
//! that brings no octet for [`SILENCE_MAX`] is over. A watch then goes on from the version that it
//! had reached, on a new connection, and a list begins anew; either leaves what is known in force.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, Layer, Service};
use tracing::warn;

use crate::metrics::own::OWN;

/// Three bookmarks that did not come. A watch lasts 290 s at most, so a longer limit would never be
/// reached.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(180);

/// Ends responses that say nothing.
#[derive(Clone)]
pub(super) struct Silence {
    max: Duration,
    /// The watches, by their resource, whose silence was told and that have not spoken since. A
    /// server that knows no bookmarks gives one line, not one every three minutes.
    told: Arc<Mutex<HashSet<String>>>,
}

impl Silence {
    /// Ends those that say nothing for `max`.
    pub(super) fn new(max: Duration) -> Self {
        Self {
            max,
            told: Arc::default(),
        }
    }
}

impl<S> Layer<S> for Silence {
    type Service = Attended<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attended {
            inner,
            silence: self.clone(),
        }
    }
}

/// A client whose responses are attended to.
#[derive(Clone)]
pub(super) struct Attended<S> {
    inner: S,
    silence: Silence,
}

impl<S, In, Out> Service<Request<In>> for Attended<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    Out: Body,
{
    type Response = Response<AttendedBody<Out>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let path = request.uri().path();
        let resource = path.rsplit('/').next().unwrap_or(path).to_owned();
        let parameters = request.uri().query().unwrap_or_default().split('&');
        let is_watch = parameters
            .into_iter()
            .any(|parameter| parameter.starts_with("watch="));
        let silence = self.silence.clone();
        let asking = self.inner.call(request);
        Box::pin(async move {
            let Ok(response) = timeout(silence.max, asking).await else {
                count(&resource);
                return Err(silence.error().into());
            };
            let attend = |body| AttendedBody {
                body: Box::pin(body),
                end: Box::pin(sleep(silence.max)),
                silence,
                resource,
                is_watch,
                has_spoken: false,
            };
            response
                .map(|response| response.map(attend))
                .map_err(Into::into)
        })
    }
}

impl Silence {
    fn error(&self) -> io::Error {
        let seconds = self.max.as_secs();
        let text = format!("the API server has said nothing for {seconds} s");
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// Notes that a watch of the resource is silent; false if that was known.
    fn fell(&self, resource: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(resource.to_owned())
    }

    fn ended(&self, resource: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.remove(resource);
    }
}

fn count(resource: &str) {
    OWN.watch_restarts.with_label_values(&[resource]).inc();
}

/// A body that ends when nothing comes any more.
pub(super) struct AttendedBody<B> {
    body: Pin<Box<B>>,
    /// Put off by each frame.
    end: Pin<Box<Sleep>>,
    silence: Silence,
    resource: String,
    is_watch: bool,
    has_spoken: bool,
}

impl<B> Body for AttendedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = this.body.as_mut().poll_frame(context) {
            this.end.as_mut().reset(Instant::now() + this.silence.max);
            if this.is_watch && !this.has_spoken && matches!(frame, Some(Ok(_))) {
                this.has_spoken = true;
                this.silence.ended(&this.resource);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.end.as_mut().poll(context));
        count(&this.resource);
        if !this.is_watch {
            return Poll::Ready(Some(Err(this.silence.error().into())));
        }
        if this.silence.fell(&this.resource) {
            warn!(
                resource = this.resource,
                silent_s = this.silence.max.as_secs(),
                "a watch says nothing, not even a bookmark: it is begun anew from where it was"
            );
        }
        // Not an error, but the end: kube's watcher then resumes at once.
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
