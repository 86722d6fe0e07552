//! content_range
