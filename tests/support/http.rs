//! Asks a running service over HTTP.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::servers::ports;
use super::service::{Running, Service};
use super::{Error, Result};

/// Where a service answers.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    pub port: u16,
}

impl Http {
    /// Starts the service on a port of its own.
    pub fn start(service: &Service) -> Result<(Running, Self)> {
        let http = Self { port: ports::free()? };
        let service = service.clone().with("HEALTH_PORT", http.port).with("HEALTH_BIND", "127.0.0.1");
        Ok((service.start(&["run"]), http))
    }

    /// The status code and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        self.ask("GET", path, "").await
    }

    /// Orders something, with the token.
    pub async fn post(&self, path: &str, token: &str) -> Result<(u16, String)> {
        self.ask("POST", path, &format!("Authorization: Bearer {token}\r\nContent-Length: 0\r\n")).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Result<(u16, String)> {
        let failed = |error: std::io::Error| Error::Unexpected(format!("{path}: {error}"));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(failed)?;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(failed)?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        status.zip(body).ok_or_else(|| Error::Unexpected(format!("{path}: {answer}")))
    }

    /// The status of the only pipeline.
    pub async fn status(&self) -> Result<Value> {
        let (code, body) = self.get("/api/sync/status").await?;
        let status: Value = serde_json::from_str(&body).map_err(|error| Error::Unexpected(format!("{code}: {error}")))?;
        Ok(status["pipelines"]["default"].clone())
    }
}
