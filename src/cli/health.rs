//! `health`: the health check of a container.

use std::net::SocketAddr;

use super::arguments::Output;
use super::exit::Exit;
use super::print;
use crate::http::get;

/// Asks whether the process is alive.
pub(super) async fn health(address: SocketAddr, output: Output) -> Exit {
    match get(address, "/health").await {
        Ok(answer) => {
            let alive = answer.status == 200;
            print::result(output, &serde_json::json!({ "alive": alive }), || {
                if alive { "alive" } else { "not alive" }.to_owned()
            });
            if alive { Exit::Done } else { Exit::Failed }
        }
        Err(error) => {
            print::line_to_stderr(&error.chain());
            Exit::Unknown
        }
    }
}
