//! The node daemon.

/// Runs the node that the configuration file named by the first argument describes.
fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1);
    let path = path.as_deref().map(std::path::Path::new);
    let loaded = atoll_node::config::Config::load(path, std::env::vars_os())
        .map_err(|errors| anyhow::anyhow!("{errors}"))?;
    atoll_node::telemetry::log::start(&loaded.config.log);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let interrupted = async { _ = tokio::signal::ctrl_c().await };
        atoll_node::app::node::serve(loaded.config, interrupted).await
    })
}
