//! hmco-boot: from nodes that answer to a platform that is complete, checked and kept so; by a graph of small steps
//! that can be cut off at any point and gone on with.
//!
//! The people who run it fear a half-finished run and a tool that says "ok" and lies. So crash safety and honest
//! reporting come first, then speed, then features. The nodes are the truth; the journal is history and intent.
//!
//! # Modules
//!
//! A module may use those of its row and nothing else in the crate; `tests/architecture.rs` reads this very table and
//! the sources and fails where they disagree. What a seam's own file (`mod.rs`) holds is for all that may use the seam;
//! its implementations are named by `cli` alone, which puts the parts together.
//!
//! | module | what it is | may use | IO |
//! |---|---|---|---|
//! | `model` | inventory, playbook, selectors, vars, events, outcomes: pure data and rules | - | no |
//! | `facts` | what can be read from a target, the one script that reads it, its parser | `model` | no |
//! | `artifact` | seam `Artifacts`: from a pin to a file whose bytes are proven | `model` | yes |
//! | `transport` | seam `Host`: reads facts from a machine and applies jobs to it | `model`, `facts`, `artifact` | yes |
//! | `cluster` | seam `Cluster`, the Kubernetes API, and a `Host` on top of it | `model`, `facts`, `artifact`, `transport` | yes |
//! | `secrets` | seam `SecretStore` | `model`, `facts` | yes |
//! | `journal` | seam `Journal`: the record of runs | `model`, `facts` | yes |
//! | `steps` | one file per kind: wish, facts, decision, actions; all pure | `model`, `facts` | no |
//! | `config` | TOML to model, all mistakes of all files at once | `model`, `steps` | `load.rs` |
//! | `plan` | inventory and playbook to a graph of (step, target) pairs; fingerprint, explanation, saved plans | `model`, `facts`, `steps` | no |
//! | `engine` | scheduler (synchronous), runner, locks, resume | `model`, `facts`, `plan`, `steps`, `transport`, `journal`, `secrets` | `clock.rs` |
//! | `k3s` | what a cluster of K3s is found to be, and the plans by which nodes leave it | `model`, `facts`, `steps`, `plan` | no |
//! | `report` | terminal, plain lines, JSON, summary, graphs: reads events | `model` | no |
//! | `lab` | rehearsal nodes on this machine | `model` | yes |
//! | `cli` | arguments, one file per command, the edge error, the only place that prints | everything | yes |
//!
//! # How data flows
//!
//! ```text
//! inventory/*.toml, playbooks/*.toml
//!    | config          every mistake at once, or ...
//!    v
//! Inventory, Playbook
//!    | plan            a graph of (step, target) pairs with rendered wishes
//!    v
//! Plan ----> engine::scheduler   events in, commands out: no IO, no clock
//!               ^  |
//!        events |  | commands
//!               |  v
//!            engine::runner ----> transport   facts, jobs
//!               |
//!               | every event, before its effect
//!               v
//!            journal ----> report   terminal, plain, JSON, replay: the same code
//! ```
//!
//! One event type ([`model::event::Event`]) is the only bridge out of the engine. What a run says on the terminal, what
//! the journal holds and what `runs replay` shows is the same stream.
//!
//! # To add a step kind
//!
//! 1. `src/steps/<kind>.rs`: a type that implements [`steps::Kind`] (wish, facts, decision, actions), with unit tests.
//! 2. One line in `src/steps/registry.rs`.
//! 3. One example, `playbooks/examples/<kind>.toml`.
//!
//! The contract test, the schema, `check` and the lists pick it up. `model`, `engine`, `report` and `journal` never
//! change for a kind: where one would have to, that is a change of design.
//!
//! # What is promised
//!
//! - A dry run cannot change anything: deciding code is handed facts, never a machine.
//! - The journal is written before the effect; where it cannot be written, nothing new starts.
//! - Started means unknown: `resume` reads every target again, and no record makes a step "done".
//! - Every apply is proven: the step's own facts are read again and decided again; what still differs has failed.
//! - A failure blocks what depends on it and nothing else, and no outcome is silent: the exit code is computed from the
//!   final state of every pair.
//! - One run per cluster at a time; a live holder of the lock is named and never robbed.
//! - What is secret is shown nowhere: no diff, no event, no bare hash of it.
//!
//! # Where this differs from the design page, and why
//!
//! - Quoting is `model::shell` (the page: `transport/quote.rs`): the script that reads facts is shell text too, and
//!   `facts` may not use `transport`. It is still the only place where a word becomes shell text.
//! - `Host` is structured: `read` facts, `apply` a job, `attach` to one. The shell lies below it, so that a fake is a
//!   machine in memory and not a shell that guesses what a script would have done.
//! - `transport` uses the seam `Artifacts`: the bytes of a file that the controller sends to a node go from disk to the
//!   connection there, and nowhere else in between.
//! - Actions are a closed enum that `transport` carries out; the engine only passes them on.
//! - Needing a playbook step means needing each of its steps, by the same rule per target as any other need; needing an
//!   `each` step means its items on that target.
//! - A target that `--limit` or an empty list of items leaves out passes the order on: leaving something out never lets
//!   two other steps run in another order. Likewise a step without any target does not cut the order in two.
//! - Vars are resolved where a step uses them, so a node's var may be missing where only cluster steps run, and a secret
//!   that no step uses stays closed. Policies of a playbook step are refused: they belong to the steps inside.
//! - `serial` goes in inventory order, also over targets that are as wished, and whatever ends badly stops those after it.
//!   So the end of a rollout does not depend on which node answered first.
//! - `plan` is the scheduler in another mode ([`engine::scheduler::Mode::Preview`]), which has no command that changes
//!   anything. A decision is "known only after ..." where a drifting step before it touches a fact it needs.
//! - Answers are framed by a delimiter that is new for every execution; contents carry a byte count and are held to their
//!   digest as well ([`facts::frame`]).
//! - The cluster is a target like a machine: `cluster::host::ClusterHost` is a `Host` on top of the seam `Cluster`. It is
//!   not asked before a step needs it, for at the beginning of a bootstrap there is none; a job on a node makes what is
//!   known of it doubtful.
//! - Values of Secrets are replaced by digests before a list becomes a fact, and a text with a secret in it may hold
//!   nothing but Secrets: so no fact, difference or message can show one.
//! - What services answer (`Http`, `Dns`, `Tcp`) are facts of the controller whichever target a step is for
//!   ([`facts::known::FactRef`]), and that a service does not answer is an answer ([`facts::network::NetAnswer`]).
//! - A unit's record ([`steps::systemd_unit`]) also holds the identity of each input, and a copy survives a reboot: a start
//!   by somebody else, or at boot, is proven to be one with the same inputs where none was written since. It holds
//!   salted digests, because an input may be a token.
//! - `resume` goes on with runs of this machine's own record. `--take-over` comes with staged procedures.
//! - A plan that needs secrets is built twice: first with values that mean nothing, which tells the names (templates put
//!   some together), then with those values and no others. Meanwhile connections are made.
//! - The redactor ([`model::redact`]) stands where an event becomes final and at the process's streams. What jobs print goes
//!   through it in the transport already, stream by stream: only there it is known what belongs together.
//! - `exec` opens every secret that opens without a question, to hide it: nobody can tell what a command prints.
//! - A lab is below `/var/lib/hmco-boot-lab`, not `/var/lib/hmco-boot/lab`: that would be the state folder of a cluster
//!   called `lab`. The lab uses no `transport`: it looks at its nodes with the system's own ssh.
//! - The directory kind's touches end at the folder itself ([`steps::Touches`] tells paths from trees), so a first plan
//!   shows what it would write below a folder that is still to be made.
//! - `secrets/manifest.toml` has lists of one-line strings, not a key per value: so git can merge it by taking the lines of
//!   both sides (`merge=union`), and a merge is recognised by its two seals ([`secrets::manifest`]). Each line has a MAC of
//!   its own beside the seal, so after a merge it can be told what a reader of the store wrote; and it holds the value's
//!   readers and day, so that listing and planning a re-key open nothing.
//! - A new store key is introduced by the one before it. A seal alone would prove nothing: whoever knows the readers' public
//!   keys could make a store key of their own. What is remembered outside of the tree is therefore the key's id as well,
//!   and which store a folder holds.
//! - The gate of `k3s_server` is no gate of a playbook but part of the kind: a start is over when K3s is up, and a kind may turn
//!   what its job printed into a cause ([`steps::Kind::explain`]). Its unit is enabled when it is a member, not
//!   before: a first start that was cut off must not go on by itself at the next boot, when the cluster may have been made
//!   elsewhere.
//! - In a series, what a pair saw of other targets is read again once a job of the series has ended, before anything follows
//!   from it: a rollout takes minutes, and a server that went down meanwhile must not count as up.
//! - What a job awaits in the cluster is listed once and watched from there on, and the list is asked for again when a watch
//!   is over or broke. Steps of kind `wait` and gates are looked at at their intervals instead, there as anywhere else: the
//!   engine knows facts, and no API that tells changes.
//! - A secret that is not there has a stand-in while a plan is made, where a kind says that it may be made
//!   ([`steps::Kind::makes`]); a run makes it before the plan that is carried out.
//! - An inventory may have `[[artifact]]` pins of its own, instead of those of the same name in `hmco-boot.lock`, also with
//!   `file://`: so a lab uses a K3s of this machine, and the kinds have one code path.
//! - Commands of the tool's own that change nodes (`k3s node remove`, `k3s reset`) are plans for the same engine
//!   ([`plan::chain`]): recorded, locked, proven step by step. To go on with one it is given again.
//! - Reading through a re-key that was cut off needs no lock: who only reads sees it as it will be.

pub mod artifact;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod engine;
pub mod facts;
pub mod journal;
pub mod k3s;
pub mod lab;
pub mod model;
pub mod plan;
pub mod report;
pub mod secrets;
pub mod steps;
pub mod transport;
