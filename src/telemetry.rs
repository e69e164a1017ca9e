//! What hitless tells about itself: metrics and logs. The only place that names a metric.
