//! Keeps a FalkorDB graph equal to a Neo4j graph, continuously.
//!
//! Neo4j is the *source*: the only truth, still being written, and only ever read by us. A FalkorDB graph is the *cache*. A
//! *pipeline* keeps one cache in step with one source; a *profile* says which labels and relationship types there are, their
//! keys, timestamps, vectors and indices.
//!
//! # The way of the data
//!
//! ```text
//!   source            sync                 transform              sink
//!   pages, keys,  ──► what a pass reads ──► values, labels, keys ──► index-backed writes,
//!   bookmarks         and in which order    to FalkorDB's text       checkpoint, lease
//!   └───────────── Extractor ────────────┘ └── Transformer ──────┘ └────── Loader ──────┘
//! ```
//!
//! - [`source`] reads Neo4j by key-set pages and by key, always in read access mode, and knows the bookmark of its last commit. A
//!   Bolt 5 client of our own carries all that is between a commit and the cache; the questions about the server itself
//!   (connectivity, version, labels and types, indices) are the [control plane](source::ControlPlane)'s, by neo4rs.
//! - [`sync`] holds the strategies: a *full* pass reads everything in the order of the keys; an *incremental* pass finds what
//!   changed by timestamps, by what the profile says to follow, by late keys, by counts and by sweeps of keys. Whatever finds a
//!   difference emits keys; the current content of those keys is read and sent on, so an older value never lands on a newer one.
//! - [`transform`] is pure: it encodes rows as FalkorDB reads them, and says what it cannot encode and why.
//! - [`sink`] is the only place that writes the cache. Upserts and deletes can be
//!   repeated without harm; the last bulk payload is looked for before it is sent again.
//!
//! # The layers
//!
//! A module imports only modules below it; a test holds that. The strategies of [`sync`] ask the cache through a trait of their
//! own, [`sync::CacheView`], which the sink implements: so they know nothing of FalkorDB.
//!
//! ```text
//!   cli
//!   connector
//!   http
//!   actors
//!   sink
//!   sync
//!   source
//!   transform
//!   retry
//!   telemetry
//!   config
//!   model
//!   failpoint
//!   error
//! ```
//!
//! # The actors
//!
//! Each of the three steps is an actor around a task of its own ([`actors`]); a supervisor starts them together as one
//! *generation* and restarts them together. What bounds the rows in flight are credits that each batch carries, not mailboxes.
//! The loader applies a batch, then stores the checkpoint, then acknowledges: whatever dies, the next generation reads
//! the last stored checkpoint, and resumes there unless the work has to begin anew (`sync::first_pass`). One process at a time owns
//! a graph, by a lease. Every write is a transaction that the server drops once another process has taken the lease.
//!
//! # Where is…
//!
//! - *a change noticed in the transaction log*: `source::transaction_log` parses the log (`transaction`, `command`) and follows it
//!   (`follower`), `actors::generation_actors` tells the supervisor of each commit, `actors::extractor` begins a pass with what `feed_reader` takes
//!   from the feed, `sync::pass` picks the strategy, and `sync::committed` reads exactly the changed elements. It finds deleted ones
//!   itself (`former_keys`), `delete_guard` weighs them, and `sync::reader::PassReader::delete_absent` deletes them.
//! - *another change feed* plugged in: it implements `source::change_feed::ChangeFeed`, which tells `model::committed::CommittedChanges`;
//!   `actors::launch` opens it (`FollowedLog`), `actors::generation_actors` runs its task, `actors::feed_reader` takes what it told, and
//!   `model::log_position` is its place. `actors::prober` asks only whether it is in use.
//! - *a change noticed by probing*: `sync::incremental` reads what timestamps and follow rules tell, and compares counts. Nothing reports
//!   a delete: where counts differ, `incremental::swept` has `sweep` compare the keys (`key_sets` while a client waits),
//!   `delete_guard` weighs what is orphaned, and `sync::reader::PassReader::delete_absent` deletes it. What leaves no trace at all is found by `comparison`.
//! - *the pass that runs next chosen*: `actors::supervisor::next_pass`; the first pass of a generation by `sync::first_pass`. Beside it,
//!   `pass_queue` remembers what was requested and promised, `restarts` how long to wait after a fault, `supervisor::comparison` when a
//!   slice of the comparison comes between, and `supervisor::full_sync` when a full sync begins.
//! - *a full sync*: `actors::full_sync` fills a stage graph beside the live graph, and `sink::swap` puts it in the live graph's place by
//!   the commands of `sink::swap_commands`. `FullSync::refusal` and `FullSync::losses` (by `delete_guard::losses`) decide whether it
//!   may; the swap itself refuses if the lease is lost or the stage is not whole.
//! - *the work resumed after a crash*: `actors::launch` reads the checkpoint, and `sync::first_pass` decides what runs. A batch that was
//!   written but is not in the checkpoint is written again. For a stage, `launch` first asks whether the last payload arrived.
//! - *a cache that is not what it was noticed*: `actors::prober` (its server, checkpoint and graph) and `actors::content_watch` (a graph
//!   without its nodes) while a generation runs, `actors::launch` before one, and `actors::loader` when a pass begins.
//! - *the one writer ensured*: `sink::lease` takes the lease, `actors::lease_keeper` renews it and notices its loss, and `sink::fence`
//!   makes every write a transaction that the server drops once another process has taken the lease.
//! - *a second process while another one leads*: `sink::lease` answers `LeaseHeld` to `actors::launch`; `supervisor::generations` stands by
//!   with `actors::standby`, and launches again once the lease is free; meanwhile `http::chosen` and `http::wait` name the leader.
//! - *pipelines shared by many processes* (`sync.spread`): `sink::presence` announces an instance and finds the others, `model::spread`
//!   plans the leader of each pipeline, `actors::spreading` decides whether a standby takes a lease and whether another instance should
//!   lead, and `supervisor::handover` hands over.
//! - *the graph of an element chosen*, where each group has one: `transform::admission` reads the group, `model::routes` names the graph,
//!   and `sink::routing` splits the batch.
//! - *an element or a property quarantined*: `transform::admission` decides that the cache cannot hold an element, `transform::layout`
//!   a property, `actors::loader` that a relationship lacks an end, `sync::unusable` that no page reaches an element; `sink::upsert` and `sink::routing` that FalkorDB refuses it.
//!   `actors::loader::quarantine` lists it with the reason, `sink::checkpoint_store` keeps it, and `http::views` shows it.
//! - *a delete held or approved*: `sync::delete_guard` weighs it by `model::guard`, whose memory is in the checkpoint; an approval
//!   (`pass_queue`) lasts for one pass and does not survive a restart.
//! - *a client's wait answered*: for `applied`, `http::wait` asks the supervisor for a pass that covers the commit (`AwaitApplied` in
//!   `actors::messages`); for `verified`, for a comparison that begins after it (`AwaitVerified`, `supervisor::comparison`).
//!   `http::wait::Order::is_met` decides the answer by what `telemetry::status` says is applied, proven and held;
//!   `model::checkpoint` notes a proof by a comparison (`note_compared`) and by the log (`note_told`).
//! - *a value type*: `model::value`; read by `source::bolt::value`; written by `transform::values`; read back for comparisons by
//!   `sink::content`; if it becomes text, also in `source::queries::seeks`; if not, in `transform::writer` and `transform::bulk`.
//! - *the text of a write to FalkorDB*: `sink::statements`; of a bulk payload: `transform::bulk`.
//! - *a setting*: `config` has a file for each section, `config::environment` its variable, `cli::pipelines` hands it to
//!   `actors::generation_actors::GenerationSettings`; `docs/configuration.md` and `config/sync.yaml` describe it.
//!
//! # Around it
//!
//! [`config`] reads file, environment and command line into types that cannot be wrong; [`cli`] has a file a subcommand; [`http`]
//! shows whether the service lives and is in step; [`telemetry`] is what a person sees; [`error`] maps every kind of error to
//! what happens (`ErrorKind::directive`, which `retry` and `restarts` carry out) and to a sentence for the operator; [`retry`] repeats what
//! may pass, for the adapters of both servers;
//! [`connector`] makes a pipeline's connections.
#![forbid(unsafe_code)]
// Most rooms are the program's own; `cargo doc --document-private-items` shows them.
#![allow(rustdoc::private_intra_doc_links)]

mod actors;
pub mod cli;
pub mod config;
mod connector;
pub mod error;
mod failpoint;
mod http;
pub mod model;
mod retry;
pub mod sink;
pub mod source;
mod sync;
pub mod telemetry;
pub mod transform;
