//! `[node]`: who this node is and where it keeps its data.

use std::path::PathBuf;

use super::section;
use crate::config::NodeName;

section! {
    /// Who this node is and where it keeps its data.
    Node = "node";

    /// Folder of everything the node keeps. Created when missing; one process at a time may use it.
    /// A relative path counts from the working directory.
    data_dir: PathBuf = "data";

    /// Name of the node in logs and in the cluster. Drawn at the first start and kept in the data
    /// folder when it is not set.
    id: Option<NodeName> = "";
}
