//! The true floor: a bare russh client, one connection and one execution per node, all at once; no host key is verified.
//! `cargo bench --bench bare_russh -- KEY_FILE SCRIPT_FILE USER@ADDRESS:PORT...`; becomes root by sudo.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench")]

use std::sync::Arc;
use std::time::Instant;

use russh::client::{Config, Handler, connect_stream};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Error, Preferred, kex};

struct Client;

impl Handler for Client {
    type Error = Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }
}

async fn node(place: String, key: PrivateKeyWithHashAlg, script: Vec<u8>) -> Result<(), Error> {
    let (user, address) = place.split_once('@').unwrap_or(("root", &place));
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let kex = vec![kex::CURVE25519].into();
    let config = Config {
        preferred: Preferred {
            kex,
            ..Preferred::DEFAULT
        },
        ..Config::default()
    };
    let mut handle = connect_stream(Arc::new(config), stream, Client).await?;
    if !handle.authenticate_publickey(user, key).await?.success() {
        return Err(Error::NotAuthenticated);
    }
    let mut channel = handle.channel_open_session().await?;
    channel.exec(true, "exec sudo -n sh -s").await?;
    channel.data(script.as_slice()).await?;
    channel.eof().await?;
    while channel.wait().await.is_some() {}
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<String> = std::env::args().filter(|word| word != "--bench").collect();
    let [_, key, script, places @ ..] = all.as_slice() else {
        return Err("needs KEY_FILE SCRIPT_FILE USER@ADDRESS:PORT...".into());
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(key, None)?), None);
    let script = std::fs::read(script)?;
    let begun = Instant::now();
    let one = |place: &String| tokio::spawn(node(place.clone(), key.clone(), script.clone()));
    let tasks: Vec<_> = places.iter().map(one).collect();
    for task in tasks {
        task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("bare russh: {} nodes in {seconds:.3} s", places.len());
    Ok(())
}
