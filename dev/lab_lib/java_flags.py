"""What Java 11 and newer has to open to Cassandra; the lists of Cassandra's own jvm11- and jvm17-server.options."""

_EXPORTS = [
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.base/java.lang.reflect",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
]
_OPENS = [
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/sun.nio.ch",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.rmi/sun.rmi.transport.tcp",
]


def modules() -> list[str]:
    """`--add-exports` and `--add-opens`."""
    flags = [flag for item in _EXPORTS for flag in ("--add-exports", f"{item}=ALL-UNNAMED")]
    return flags + [flag for item in _OPENS for flag in ("--add-opens", f"{item}=ALL-UNNAMED")]
