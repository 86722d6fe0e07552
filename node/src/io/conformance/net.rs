//! The suite of [`Stream`]s: what HTTP above them relies on.

use std::{future::Future, io, net::SocketAddr, pin::Pin, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::io::{
    entropy::rng::SeededRng,
    net::{Stream, connect},
};

/// A new connection, both ends: the one that connected and the one that accepted.
pub type Connected = Pin<Box<dyn Future<Output = (Stream, Stream)> + Send>>;

/// How a side makes one.
pub type Connector<'a> = &'a (dyn Fn() -> Connected + Send + Sync);

/// More than any side needs for one step; a step that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough to say that a writer waits.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Runs all of it. Nobody may listen at `deserted`.
pub async fn suite(connector: Connector<'_>, deserted: SocketAddr, seed: u64) {
    knows_its_addresses(connector).await;
    echoes(connector, seed).await;
    closes_each_way_alone(connector).await;
    holds_the_writer_back(connector).await;
    delivers_all_before_the_end(connector).await;
    tells_of_a_dropped_peer(connector).await;
    tells_of_a_peer_that_left_bytes_unread(connector).await;
    writes_several_slices(connector).await;
    refuses(deserted).await;
    carries_many_at_once(connector, seed).await;
    for round in 0..10 {
        carries_both_ways_in_any_rhythm(connector, seed.wrapping_add(round)).await;
    }
}

async fn within<T>(step: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{step}: hangs"),
    }
}

fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededRng::new(seed).fill(&mut bytes);
    bytes
}

async fn knows_its_addresses(connector: Connector<'_>) {
    let (client, server) = connector().await;
    assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
}

async fn echoes(connector: Connector<'_>, seed: u64) {
    let (mut client, mut server) = connector().await;
    let echo = tokio::spawn(async move {
        let mut buffer = vec![0; 10_000];
        loop {
            match server.read(&mut buffer).await.unwrap() {
                0 => break,
                read => server.write_all(&buffer[..read]).await.unwrap(),
            }
        }
    });
    let mut rng = SeededRng::new(seed);
    for len in [0, 1, 2, 511, 4096, 65_537, 200_000].into_iter().chain((0..20).map(|_| 0)) {
        let len = if len == 0 { rng.below(50_000) as usize } else { len };
        let sent = random_bytes(len, rng.next_u64());
        let mut received = vec![0; len];
        let (mut reader, mut writer) = tokio::io::split(client);
        within("echo", async {
            let (written, read) =
                tokio::join!(writer.write_all(&sent), reader.read_exact(&mut received));
            written.unwrap();
            read.unwrap();
        })
        .await;
        assert!(sent == received, "{len} bytes");
        client = reader.unsplit(writer);
    }
    drop(client);
    within("end of the echo", echo).await.unwrap();
}

async fn closes_each_way_alone(connector: Connector<'_>) {
    for swap in [false, true] {
        let (mut near, mut far) = connector().await;
        if swap {
            std::mem::swap(&mut near, &mut far);
        }
        near.write_all(b"request").await.unwrap();
        near.shutdown().await.unwrap();
        let error = near.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

        let mut request = Vec::new();
        within("request", far.read_to_end(&mut request)).await.unwrap();
        assert_eq!(request, b"request");
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "the end stays the end");
        far.write_all(&[7; 100_000]).await.unwrap();
        far.shutdown().await.unwrap();
        let mut response = Vec::new();
        within("response", near.read_to_end(&mut response)).await.unwrap();
        assert!(response == [7; 100_000]);
    }
}

/// A writer stops when nobody reads, and goes on when somebody does.
async fn holds_the_writer_back(connector: Connector<'_>) {
    const TOTAL: usize = 64 << 20;
    let (mut writer, mut reader) = connector().await;
    let (progress, mut written) = tokio::sync::watch::channel(0);
    let writing = tokio::spawn(async move {
        let chunk = vec![3; 64 << 10];
        for sent in 1..=TOTAL / chunk.len() {
            writer.write_all(&chunk).await.unwrap();
            let _ = progress.send(sent * chunk.len());
        }
    });
    // Wait for the writer to stand still.
    while tokio::time::timeout(STANDSTILL, written.changed()).await.is_ok_and(|end| end.is_ok()) {}
    let buffered = *written.borrow();
    assert!(buffered > 0 && buffered < TOTAL, "{buffered} bytes went to nobody");

    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let read = within("read what was held back", reader.read(&mut buffer)).await.unwrap();
        if read == 0 {
            break;
        }
        assert!(buffer[..read].iter().all(|byte| *byte == 3));
        total += read;
    }
    assert_eq!(total, TOTAL);
    writing.await.unwrap();
}

async fn delivers_all_before_the_end(connector: Connector<'_>) {
    let (mut client, mut server) = connector().await;
    let sent = random_bytes(100_000, 5);
    client.write_all(&sent).await.unwrap();
    drop(client);
    let mut received = Vec::new();
    within("last bytes", server.read_to_end(&mut received)).await.unwrap();
    assert!(sent == received);
}

/// Writes until it fails.
async fn write_until_error(stream: &mut Stream) -> io::ErrorKind {
    loop {
        if let Err(error) = stream.write_all(&[0; 1000]).await {
            return error.kind();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn tells_of_a_dropped_peer(connector: Connector<'_>) {
    let (client, mut server) = connector().await;
    drop(client);
    assert_eq!(within("end of file", server.read(&mut [0])).await.unwrap(), 0);
    let kind = within("write to nobody", write_until_error(&mut server)).await;
    assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind:?}");
}

async fn tells_of_a_peer_that_left_bytes_unread(connector: Connector<'_>) {
    let (mut client, mut server) = connector().await;
    server.write_all(&[1; 1000]).await.unwrap();
    within("first byte", client.read_exact(&mut [0])).await.unwrap();
    drop(client);
    match within("end", server.read(&mut [0])).await {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    within("write to nobody", write_until_error(&mut server)).await;
}

async fn writes_several_slices(connector: Connector<'_>) {
    let (mut client, mut server) = connector().await;
    assert!(tokio::io::AsyncWrite::is_write_vectored(&client));
    let parts: [&[u8]; 4] = [b"header ", b"", b"body ", b"trailer"];
    let slices = parts.map(io::IoSlice::new);
    let written = client.write_vectored(&slices).await.unwrap();
    let whole = parts.concat();
    assert!(written > 0);
    client.write_all(&whole[written..]).await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    within("slices", server.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received, whole);
}

async fn refuses(deserted: SocketAddr) {
    let error = within("refusal", connect(deserted, PATIENCE)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    assert!(error.to_string().contains(&deserted.to_string()), "{error}");
}

async fn carries_many_at_once(connector: Connector<'_>, seed: u64) {
    let mut exchanges = Vec::new();
    for number in 0..200 {
        let (mut client, mut server) = connector().await;
        let sent = random_bytes(20_000, seed ^ number);
        exchanges.push(tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut received = Vec::new();
            within("one of many", server.read_to_end(&mut received)).await.unwrap();
            assert!(received == sent);
        }));
    }
    for exchange in exchanges {
        exchange.await.unwrap();
    }
}

/// Both ends write and read at once, in chunks and pauses drawn from the seed; each must get
/// exactly the other's bytes and then the end.
async fn carries_both_ways_in_any_rhythm(connector: Connector<'_>, seed: u64) {
    let (client, server) = connector().await;
    let to_server = random_bytes(SeededRng::new(seed).below(600_000) as usize, seed);
    let to_client = random_bytes(SeededRng::new(!seed).below(600_000) as usize, !seed);
    let near = tokio::spawn(converse(client, to_server.clone(), seed));
    let far = tokio::spawn(converse(server, to_client.clone(), !seed));
    assert!(within("conversation", near).await.unwrap() == to_client, "seed {seed}");
    assert!(within("conversation", far).await.unwrap() == to_server, "seed {seed}");
}

async fn converse(stream: Stream, say: Vec<u8>, seed: u64) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let speak = async {
        let mut rng = SeededRng::new(seed);
        let mut rest = say.as_slice();
        while !rest.is_empty() {
            let len = (1 + rng.below(30_000) as usize).min(rest.len());
            writer.write_all(&rest[..len]).await.unwrap();
            rest = &rest[len..];
            pause(&mut rng).await;
        }
        writer.shutdown().await.unwrap();
    };
    let listen = async {
        let mut rng = SeededRng::new(seed ^ 1);
        let mut heard = Vec::new();
        loop {
            let mut buffer = vec![0; 1 + rng.below(40_000) as usize];
            match reader.read(&mut buffer).await.unwrap() {
                0 => break heard,
                read => heard.extend_from_slice(&buffer[..read]),
            }
            pause(&mut rng).await;
        }
    };
    tokio::join!(speak, listen).1
}

async fn pause(rng: &mut SeededRng) {
    match rng.below(4) {
        0 => tokio::time::sleep(Duration::from_millis(rng.below(3))).await,
        1 => tokio::task::yield_now().await,
        _ => {}
    }
}
