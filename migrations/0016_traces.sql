-- The trace that a job is part of: what its stages descend from, as a W3C traceparent, and the span of who asked for it.
alter table jobs add column traceparent text;
alter table jobs add column trace_caller text;
