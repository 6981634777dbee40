//! An axum application that knows nothing of telemetry, and the ten lines that have it watched by pull and by push:
//!
//! ```sh
//! cargo run --example axum_layer --no-default-features --features http,exposition,telemetry
//! ```
//!
//! Its metrics are at <http://127.0.0.1:3000/metrics>, and go together with its traces to where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` says: `cargo run -- collect --console 127.0.0.1:5001` in another terminal takes them in
//! at the default, and shows them at <http://127.0.0.1:5001/>.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is for a person to read")]

use std::{env, error::Error, net::SocketAddr, time::Duration, time::Instant};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use pushpull::{
    exposition::{sdk, text},
    http::Layer,
    telemetry::{self, Destination, Environment, Reader, Signal, Telemetry},
};
use tokio::{net::TcpListener, signal, task::spawn_blocking};

/// The application: two routes.
fn greeter() -> Router {
    Router::new()
        .route("/", get(async || "Ask for /hello/YOU\n"))
        .route("/hello/{name}", get(async |Path(name): Path<String>| format!("Hello, {name}!\n")))
}

/// What is pulled.
async fn metrics(State(reader): State<Reader>) -> impl IntoResponse {
    match reader.collect() {
        Ok(collected) => Ok(([(CONTENT_TYPE, text::CONTENT_TYPE)], text::encode(&sdk::families(&collected)))),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What is pushed, as the standard variables say: metrics and traces over OTLP.
    let environment = Environment::of(env::vars_os());
    environment.warnings().iter().for_each(|warning| eprintln!("{warning}"));
    let resource = telemetry::resource(&environment, "greeter", "1.0.0");
    let telemetry = Telemetry::start(&environment, resource, Destination::Standard)?;
    let layer = Layer::new(&telemetry.meter("greeter"), telemetry.tracer("greeter"))
        .with_propagator(telemetry.propagator());
    let pulled = Router::new().route("/metrics", get(metrics)).with_state(telemetry.reader().clone());
    let app = greeter().merge(pulled).layer(layer);

    let listener = TcpListener::bind(env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    let address = listener.local_addr()?;
    println!("http://{address}/hello/YOU answers, until Ctrl-C");
    println!("Pulled: http://{address}/metrics shows what was measured");
    println!("Pushed, to {}:", environment.endpoint(Signal::Traces));
    println!(
        "`pushpull collect --console 127.0.0.1:5001` takes it in, and shows it at http://127.0.0.1:5001/"
    );
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async { signal::ctrl_c().await.unwrap_or_default() })
        .await?;

    // What is still held is sent, within two seconds.
    let deadline = Instant::now() + Duration::from_secs(2);
    for signal in spawn_blocking(move || telemetry.stop(deadline)).await? {
        eprintln!("not all {} were delivered", signal.as_str());
    }
    Ok(())
}
