//! The true floor: a bare russh client, one connection and one execution per node, all at once.
//! `cargo bench --bench bare_russh -- KEY_FILE SCRIPT_FILE USER@ADDRESS[:PORT]...` prints one line; host keys are not
//! verified (they are on the lab's own bridge).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for measuring"
)]

use std::sync::Arc;
use std::time::Instant;

use russh::client::{Config, Handler, connect_stream};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{ChannelMsg, Preferred, kex};
use tokio::net::TcpStream;

struct Client;

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn node(
    place: String,
    key: PrivateKeyWithHashAlg,
    script: Vec<u8>,
) -> Result<usize, russh::Error> {
    let (user, address) = place.split_once('@').unwrap_or(("root", &place));
    let stream = match address.rsplit_once(':') {
        Some(_) => TcpStream::connect(address).await?,
        None => TcpStream::connect((address, 22)).await?,
    };
    stream.set_nodelay(true)?;
    let preferred = Preferred {
        kex: vec![kex::CURVE25519, kex::CURVE25519_PRE_RFC_8731].into(),
        ..Preferred::DEFAULT
    };
    let config = Config {
        preferred,
        ..Config::default()
    };
    let mut handle = connect_stream(Arc::new(config), stream, Client).await?;
    if !handle.authenticate_publickey(user, key).await?.success() {
        return Err(russh::Error::NotAuthenticated);
    }
    let mut channel = handle.channel_open_session().await?;
    channel.exec(true, "exec sh -s").await?;
    channel.data(script.as_slice()).await?;
    channel.eof().await?;
    let mut bytes = 0;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            bytes += data.len();
        }
    }
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [key, script, places @ ..] = arguments.as_slice() else {
        return Ok(println!("KEY_FILE SCRIPT_FILE NODE..."));
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(key, None)?), None);
    let script = std::fs::read(script)?;
    let begun = Instant::now();
    let tasks: Vec<_> = places
        .iter()
        .map(|place| tokio::spawn(node(place.clone(), key.clone(), script.clone())))
        .collect();
    for task in tasks {
        task.await??;
    }
    println!(
        "bare russh: {} nodes in {:.3} s",
        places.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
