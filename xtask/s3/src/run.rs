//! The threads of a server: listening, stopping, listening again.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::gate::Gate;
use crate::service::Api;
use crate::socket::Socket;
use crate::wire::serve;
use crate::world::Shared;

/// A server that runs. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// To listen or not, and whom to tell when it is so.
struct Command {
    listen: bool,
    done: mpsc::Sender<()>,
}

impl Running {
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let (commands, received) = unbounded_channel();
        let (started, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("threads for a server").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
                let address = listener.local_addr().expect("a bound port");
                let _ = started.send(address);
                run(listener, address, shared, received).await;
            });
        });
        let address = address.recv().expect("the server starts");
        Self { address, commands: Some(commands), thread: Some(thread) }
    }

    /// Returns when it is so.
    pub(crate) fn listen(&self, listen: bool) {
        let (done, told) = mpsc::channel();
        let sent = self.commands.as_ref().is_some_and(|commands| commands.send(Command { listen, done }).is_ok());
        assert!(sent && told.recv().is_ok(), "the server stopped by itself");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn service(shared: &Arc<Shared>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api(Arc::clone(shared)));
    builder.set_auth(Gate(Arc::clone(shared)));
    builder.set_access(Gate(Arc::clone(shared)));
    let mut config = S3Config::default();
    // The server's own clock decides on that, not the machine's.
    config.presigned_url_max_skew_time_secs = u32::MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.build()
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut commands: UnboundedReceiver<Command>,
) {
    let service = service(&shared);
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(stream) = accept(listener.as_ref()) => {
                connections.spawn(connection(stream, service.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
            command = commands.recv() => {
                let Some(Command { listen, done }) = command else { return };
                if listen {
                    listener = Some(TcpListener::bind(address).await.expect("the same port again"));
                } else {
                    listener = None;
                    connections.shutdown().await;
                }
                let _ = done.send(());
            }
        }
    }
}

/// The next connection; never one if it does not listen.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, service: S3Service, shared: Arc<Shared>) {
    let reset = Arc::new(AtomicBool::new(false));
    let _ = stream.set_nodelay(true);
    let socket = Socket { stream, reset: Arc::clone(&reset) };
    let answer = service_fn(move |request| serve(service.clone(), Arc::clone(&shared), request, Arc::clone(&reset)));
    // A client that goes away, or was thrown out, is no matter for the server.
    let _ = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(1 << 20)
        .serve_connection(TokioIo::new(socket), answer)
        .await;
}
