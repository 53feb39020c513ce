# Two stages: the first builds the program, the second holds it and nothing else: no shell, no package manager, no root.
# The file system may be read-only. tests/packaging checks what can be checked of this file without building it.
ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /build

# The dependencies first, over an empty program: this layer is made again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs
RUN cargo build --release --locked --bin neo4j-falkordb-sync

# What Cargo made of the empty program is older than the copied files may be: their time decides whether it builds again.
COPY config config
COPY src src
RUN find src -name '*.rs' -exec touch {} +
RUN cargo build --release --locked --bin neo4j-falkordb-sync

# Of the same Debian as the build, for its C library; with the certificates of public authorities, for bolt+s and TLS.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/neo4j-falkordb-sync /usr/local/bin/neo4j-falkordb-sync
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/neo4j-falkordb-sync/
USER 65532:65532
# Where config/sync.yaml is looked for: mount it at /etc/neo4j-falkordb-sync/config/sync.yaml, or set variables alone.
WORKDIR /etc/neo4j-falkordb-sync
# Texts of megabytes come and go among the threads. As it is set up, the C library keeps what each of them freed, half of the memory at
# a peak; so it has two arenas, and gives back at once what is larger than a mebibyte.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576
EXPOSE 8080
# A first full sync does not make it unhealthy: this asks whether the process lives. /ready tells whether it is in step.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/neo4j-falkordb-sync", "health"]
ENTRYPOINT ["/usr/local/bin/neo4j-falkordb-sync"]
CMD ["run"]
