//! A real browser without a window, driven as WebDriver says. Chromium and its driver are Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::deadline::EVENT;
use super::servers::ports;
use super::{Error, Result};

const DRIVER: &str = "chromedriver";
const BROWSERS: [&str; 2] = ["chromium", "google-chrome"];

/// How long the driver, the browser and a page may take.
const PATIENCE: Duration = EVENT;

/// How often it is looked whether a page shows something: a browser has no event for that.
const LOOK: Duration = Duration::from_millis(50);

/// What a browser is to look like.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// A browser with one page. The processes end with it.
pub struct Browser {
    pub client: Client,
    _driver: Child,
    profile: tempfile::TempDir,
}

impl Drop for Browser {
    /// A driver that is ended leaves its browser running. Those that use this profile are this test's own, and end here.
    fn drop(&mut self) {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        for pid in processes_with(&profile) {
            let _ = std::process::Command::new("kill").arg("-KILL").arg(pid).stderr(Stdio::null()).status();
        }
    }
}

/// The ids of the processes that were started with this argument.
fn processes_with(argument: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |process: &std::fs::DirEntry| std::fs::read(process.path().join("cmdline")).unwrap_or_default();
    let has = |process: &std::fs::DirEntry| String::from_utf8_lossy(&of(process)).split('\0').any(|word| word == argument);
    processes.filter(has).filter_map(|process| process.file_name().into_string().ok()).collect()
}

/// The programs that are missing, with what to install; empty where a browser can be used.
pub fn missing() -> Vec<&'static str> {
    let found = |program: &str| {
        let directories = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&directories).any(|directory| directory.join(program).is_file())
    };
    let mut missing = Vec::new();
    if !found(DRIVER) {
        missing.push("chromedriver (apt-get install chromium-driver)");
    }
    if !BROWSERS.into_iter().any(found) {
        missing.push("chromium (apt-get install chromium)");
    }
    missing
}

impl Browser {
    pub async fn open(window: Window) -> Result<Self> {
        let port = ports::free()?;
        let profile = tempfile::tempdir().map_err(Error::file("cannot write in", std::env::temp_dir()))?;
        let driver = Command::new(DRIVER)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Spawn { program: DRIVER.to_owned(), source })?;
        let client = connect(port, &capabilities(window, profile.path())).await?;
        Ok(Self { client, _driver: driver, profile })
    }

    /// Waits until a script's value is true.
    pub async fn until(&self, what: &str, script: &str) -> Value {
        let began = Instant::now();
        loop {
            let value = self.client.execute(&format!("return {script}"), Vec::new()).await;
            match value {
                Ok(value) if value != Value::Bool(false) && !value.is_null() => return value,
                other => assert!(began.elapsed() < PATIENCE, "{what}: {other:?}; the page says:\n{}", self.text().await),
            }
            sleep(LOOK).await;
        }
    }

    /// What the page says, as a person reads it.
    pub async fn text(&self) -> String {
        let text = self.client.execute("return document.body.innerText", Vec::new()).await;
        text.map(|text| text.as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    pub async fn click(&self, selector: &str) -> std::result::Result<(), CmdError> {
        self.client.find(Locator::Css(selector)).await?.click().await
    }

    /// Keeps a picture of the whole page where it can be looked at afterwards.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let directory = Path::new(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp")).join("pictures");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("{name}.png"));
        std::fs::write(&file, self.client.screenshot().await.unwrap()).unwrap();
        file
    }

    /// Ends the browser; the driver ends with this.
    pub async fn close(self) {
        let _ = timeout(PATIENCE, self.client.clone().close()).await;
    }
}

/// A driver that has just begun takes a moment, and tells nobody when.
async fn connect(port: u16, capabilities: &Capabilities) -> Result<Client> {
    let began = Instant::now();
    loop {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.clone());
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => return Ok(client),
            Err(error) if began.elapsed() > PATIENCE => return Err(Error::Unexpected(format!("no browser: {error}"))),
            Err(_) => sleep(LOOK).await,
        }
    }
}

fn capabilities(window: Window, profile: &Path) -> Capabilities {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        // Tests may be root's, whom the sandbox refuses; the page is this project's own.
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--hide-scrollbars".to_owned(),
        format!("--window-size={},{}", window.width, window.height),
        format!("--user-data-dir={}", profile.display()),
    ];
    if window.dark {
        arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let options = json!({ "args": arguments });
    let Value::Object(capabilities) = json!({ "browserName": "chrome", "goog:chromeOptions": options }) else { unreachable!() };
    capabilities
}
