//! The status page in a real browser, as a person sees and uses it. Pictures are kept in `target/tmp/pictures`.

use std::io::Write;
use std::time::{Duration, Instant};

use neo4rs::query;
use serde_json::Value;
use tokio::time::sleep;

use super::api::{Http, TOKEN, start};
use super::pipeline::{PROGRAM, Pair};
use crate::support::browser::{Browser, Window, missing};
use crate::support::deadline::EVENT;
use crate::support::graph::{GraphSpec, build};
use crate::support::servers::FalkorServer;
use crate::support::service::{Running, Service};

const DESK: Window = Window { width: 1280, height: 1500, dark: false };
const PHONE: Window = Window { width: 500, height: 2600, dark: true };

const BADGE: &str = "document.querySelector('.badge')?.textContent";

/// Whether there is a browser; if not, says so where nobody can overlook it.
fn can_look() -> bool {
    let missing = missing();
    if !missing.is_empty() {
        // Not by a macro, whose output is shown of tests that fail only.
        let text = format!("SKIPPED, NOT TESTED: the status page needs a browser; missing: {}\n", missing.join(", "));
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
    missing.is_empty()
}

async fn look(http: &Http, window: Window) -> Browser {
    let browser = Browser::open(window).await.unwrap();
    browser.client.goto(&format!("http://127.0.0.1:{}/", http.port)).await.unwrap();
    browser
}

/// Shows the page as soon as the service answers.
async fn look_from_the_start(browser: &Browser, http: &Http) {
    let began = Instant::now();
    while let Err(error) = browser.client.goto(&format!("http://127.0.0.1:{}/", http.port)).await {
        assert!(began.elapsed() < EVENT, "{error}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until_badge(browser: &Browser, word: &str) {
    browser.until(word, &format!("{BADGE} === '{word}'")).await;
}

/// What the page complained about in its console.
async fn complaints(browser: &Browser) -> Vec<String> {
    let collected = browser.client.execute("return window.complaints ?? []", Vec::new()).await.unwrap();
    collected.as_array().unwrap().iter().map(Value::to_string).collect()
}

async fn collect_complaints(browser: &Browser) {
    let script = "window.complaints = []; addEventListener('error', event => complaints.push(event.message)); \
                  addEventListener('securitypolicyviolation', event => complaints.push(event.violatedDirective));";
    browser.client.execute(script, Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_full_sync_is_watched_to_its_end() {
    if !can_look() {
        return;
    }
    let pair = Pair::new("page_full").await;
    let spec = GraphSpec::large();
    build(&pair.source.graph, &spec).await.unwrap();
    let elements = spec.nodes() + spec.relationships();
    // A browser takes seconds to start: one that is there first sees all of it.
    let browser = Browser::open(DESK).await.unwrap();
    let (running, http) = start(&pair.service.clone().with("API_TOKEN", TOKEN)).await;
    look_from_the_start(&browser, &http).await;
    collect_complaints(&browser).await;
    let share = "(document.querySelector('progress')?.value ?? 0)";
    let mut seen: Vec<f64> = Vec::new();
    for least in [0.02, 0.3, 0.7] {
        let value = browser.until("progress", &format!("{share} > {least} && {share}")).await;
        seen.push(value.as_f64().unwrap());
        if least > 0.2 && seen.len() == 2 {
            let says = |word: &str| format!("document.body.innerText.includes('{word}')");
            browser.until("rate and rest", &format!("{} && {}", says("elements a second"), says("left"))).await;
            browser.picture("full-sync").await;
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    until_badge(&browser, "In step").await;
    let progress_is_gone = "document.querySelector('.progress').hidden";
    browser.until("the progress goes with the full sync", progress_is_gone).await;
    // All of them, by kind.
    let script = "[...document.querySelectorAll('.columns table')][0].innerText";
    let kinds = browser.until("rows by kind", &format!("{script}.includes('RELATES_TO') && {script}")).await;
    let written: u64 = kinds.as_str().unwrap().lines().skip(1).filter_map(written).sum();
    assert_eq!(written, elements as u64, "{kinds}");
    browser.until("the full pass is listed", "document.body.innerText.includes('full')").await;
    browser.picture("in-step").await;
    assert_eq!(complaints(&browser).await, Vec::<String>::new());
    let dark = look(&http, PHONE).await;
    until_badge(&dark, "In step").await;
    let overflow = dark.client.execute("return document.documentElement.scrollWidth - innerWidth", Vec::new()).await.unwrap();
    assert!(overflow.as_i64().unwrap() <= 0, "a phone would have to scroll sideways by {overflow} pixels");
    dark.picture("phone-dark").await;
    dark.close().await;
    browser.close().await;
    assert_eq!(running.terminate().await, 0);
}

/// The third column of a row of the table by kind.
fn written(line: &str) -> Option<u64> {
    line.split('\t').nth(2)?.replace(',', "").trim().parse().ok()
}

#[tokio::test]
async fn a_paused_pipeline_is_resumed_by_clicking() {
    if !can_look() {
        return;
    }
    let pair = Pair::new("page_pause").await;
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }).await.unwrap();
    let (running, http) = start(&pair.service.clone().with("API_TOKEN", TOKEN)).await;
    http.until_ready(true).await;
    let browser = look(&http, DESK).await;
    until_badge(&browser, "In step").await;
    http.commanded("pause").await;
    until_badge(&browser, "Paused").await;
    pair.source.graph.run(query("CREATE (:Entity {uuid: 'late', created_at: datetime(), name: 'x'})")).await.unwrap();
    browser.until("behind by a commit", "document.querySelector('.figure')?.innerText.includes('1 commit')").await;
    browser.picture("paused").await;
    // By the keyboard alone: Tab leads to the button, Enter presses it, the dialog takes the token.
    browser.client.execute("document.querySelector('[data-command=resume]').focus()", Vec::new()).await.unwrap();
    let active = browser.client.active_element().await.unwrap();
    active.send_keys("\u{E007}").await.unwrap();
    browser.until("the dialog", "document.querySelector('dialog').open").await;
    browser.picture("token").await;
    let field = browser.client.active_element().await.unwrap();
    field.send_keys("not-the-token-at-all").await.unwrap();
    browser.click("#ask-ok").await.unwrap();
    browser.until("the refusal", "document.querySelector('#ask-error').textContent.includes('wrong')").await;
    let field = browser.client.active_element().await.unwrap();
    field.send_keys(TOKEN).await.unwrap();
    browser.click("#ask-ok").await.unwrap();
    until_badge(&browser, "In step").await;
    assert_eq!(http.status().await["paused"], false);
    browser.until("the commit arrived", "document.querySelector('.figure')?.innerText.includes('0 commits')").await;
    // The second command asks for nothing any more.
    browser.click("[data-command=pause]").await.unwrap();
    until_badge(&browser, "Paused").await;
    browser.close().await;
    assert_eq!(running.terminate().await, 0);
}

#[tokio::test]
async fn a_lost_server_and_a_lost_service_are_shown() {
    if !can_look() {
        return;
    }
    let mut pair = Pair::new("page_lost").await;
    let server = FalkorServer::start().await.unwrap();
    pair.cache = server.address();
    pair.service = Service::new(PROGRAM, &pair.source.address, &pair.cache, &pair.graph);
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }).await.unwrap();
    let (running, http): (Running, Http) = start(&pair.service).await;
    http.until_ready(true).await;
    let browser = look(&http, DESK).await;
    until_badge(&browser, "In step").await;
    server.pause();
    // By the probes, or by the generation that ends for want of it: either way the page names it and what to do.
    let lost = "(['FalkorDB does not answer', 'Trying again'].includes(document.querySelector('.badge').textContent) \
                && document.querySelector('.note[data-tone=bad]:not([hidden])')?.textContent.includes('FalkorDB'))";
    browser.until("FalkorDB is lost", lost).await;
    browser.picture("server-lost").await;
    server.resume();
    until_badge(&browser, "In step").await;
    running.kill().await;
    browser.until("the banner", "!document.querySelector('#banner').hidden").await;
    let text = browser.text().await;
    assert!(text.contains("The connection to the service is lost") && text.contains("connection lost"), "{text}");
    browser.picture("service-lost").await;
    // It comes back by itself, on the same port.
    let again = pair.service.clone().with("HEALTH_PORT", http.port).with("HEALTH_BIND", "127.0.0.1").start(&["run"]);
    browser.until("the page is live again", "document.body.dataset.live === 'yes'").await;
    until_badge(&browser, "In step").await;
    browser.close().await;
    assert_eq!(again.terminate().await, 0);
}

/// A drawing of the graph follows it by what the WebSocket tells, as a page of the service's own can.
#[tokio::test]
async fn each_applied_batch_is_told_to_whoever_asks() {
    if !can_look() {
        return;
    }
    let pair = Pair::new("page_changes").await;
    build(&pair.source.graph, &GraphSpec { entities: 40, facts: 60, ..GraphSpec::default() }).await.unwrap();
    let (running, http) = start(&pair.service).await;
    http.until_ready(true).await;
    let browser = look(&http, DESK).await;
    let follow = "window.told = []; const drawing = new WebSocket('ws://' + location.host + '/ws/updates?changes=1'); \
                  drawing.onmessage = event => { const message = JSON.parse(event.data); \
                  if (message.type !== 'update') told.push(message.type); \
                  if (message.type === 'changes') for (const kind of message.kinds) told.push(kind.operation + ' ' + kind.kind + ' ' + \
                  kind.keys.join(' ')); };";
    browser.client.execute(follow, Vec::new()).await.unwrap();
    browser.until("the snapshot", "told[0] === 'snapshot'").await;
    pair.source.graph.run(query("CREATE (:Entity {uuid: 'drawn', created_at: datetime(), name: 'x'})")).await.unwrap();
    browser.until("the new node", "told.includes('written Entity drawn')").await;
    pair.source.graph.run(query("MATCH (n:Entity {uuid: 'drawn'}) DELETE n")).await.unwrap();
    browser.until("its end", "told.includes('deleted Entity drawn')").await;
    browser.close().await;
    assert_eq!(running.terminate().await, 0);
}
