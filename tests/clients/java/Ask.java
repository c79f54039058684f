import com.google.gson.Gson;
import com.google.gson.annotations.SerializedName;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A deployment system that asks Ringvault for a backup and waits until it is there.
 *
 * <pre>java -cp 'lib/*' Ask.java URL_FILE CLUSTER KEYSPACE BACKUP KEY</pre>
 *
 * Prints each event of the request as a line. Exit 0: the backup can be restored; 1: it was refused, or
 * failed; 2: nobody answered, or the call was wrong.
 */
public final class Ask {
    private static final String SOURCE = "deployer-java";
    private static final Duration PATIENCE = Duration.ofMinutes(2);
    private static final Gson GSON = new Gson();

    /** What an event says of the request that it answers. */
    private static final class Event {
        String type;
        Payload payload;

        static final class Payload {
            String job;
            String code;
            String reason;
            @SerializedName("request_source") String requestSource;
            @SerializedName("request_key") String requestKey;
        }

        boolean answers(String key) {
            return payload != null && SOURCE.equals(payload.requestSource) && key.equals(payload.requestKey);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 5) {
            System.err.println("usage: Ask URL_FILE CLUSTER KEYSPACE BACKUP KEY");
            System.exit(2);
        }
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(Files.readString(Path.of(arguments[0])).strip());
        int exit;
        try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
            // Before asking, or the answer may be there before anybody listens.
            BlockingQueue<Event> events = listen(channel);
            String key = arguments[4];
            publish(channel, factory.getUsername(), "job.create", request(arguments[1], arguments[2], arguments[3], key));
            exit = await(events, key);
        }
        System.exit(exit);
    }

    /** The fields that this client uses; docs/schemas/job.create.schema.json has all. */
    private static String request(String cluster, String keyspace, String backup, String key) {
        return GSON.toJson(Map.of(
            "id", UUID.randomUUID().toString(),
            "type", "job.create",
            "version", 1,
            "source", SOURCE,
            "idempotency_key", key,
            "created_at", Instant.now().toString(),
            "payload", Map.of(
                "kind", "backup",
                "cluster", cluster,
                "name", backup,
                "selection", Map.of("keyspaces", List.of(keyspace)))));
    }

    private static BlockingQueue<Event> listen(Channel channel) throws Exception {
        BlockingQueue<Event> events = new LinkedBlockingQueue<>();
        // Where its rights are as narrow as they may be, a system has queues of this name alone.
        String queue = channel.queueDeclare("requester." + UUID.randomUUID(), false, true, true, null).getQueue();
        for (String key : List.of("job.#", "request.#")) {
            channel.queueBind(queue, "ringvault.events", key);
        }
        channel.basicConsume(
            queue,
            true,
            (tag, delivery) -> events.add(GSON.fromJson(new String(delivery.getBody(), StandardCharsets.UTF_8), Event.class)),
            tag -> { });
        return events;
    }

    /** Returns once the broker holds the request on disk. */
    private static void publish(Channel channel, String user, String type, String body) throws Exception {
        AtomicReference<String> returned = new AtomicReference<>();
        channel.addReturnListener(message -> returned.set(message.getReplyText()));
        channel.confirmSelect();
        AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
            .contentType("application/json")
            .deliveryMode(2)
            // Who asks. The broker refuses any other name than the one logged in with.
            .userId(user)
            .build();
        channel.basicPublish("ringvault.requests", type, true, properties, body.getBytes(StandardCharsets.UTF_8));
        channel.waitForConfirmsOrDie(PATIENCE.toMillis());
        if (returned.get() != null) {
            throw new IllegalStateException("the broker has no queue for requests: " + returned.get());
        }
    }

    private static int await(BlockingQueue<Event> events, String key) throws InterruptedException {
        Instant end = Instant.now().plus(PATIENCE);
        while (true) {
            Event event = events.poll(Duration.between(Instant.now(), end).toMillis(), TimeUnit.MILLISECONDS);
            if (event == null) {
                System.err.println("no answer within " + PATIENCE.toSeconds() + " s; asking again with the same key does no harm");
                return 2;
            }
            if (!event.answers(key)) {
                continue;
            }
            System.out.println(event.type + " " + (event.payload.job == null ? "" : event.payload.job));
            switch (event.type) {
                case "job.succeeded":
                    return 0;
                case "job.failed":
                case "job.cancelled":
                case "job.abandoned":
                    System.err.println("the backup was not made");
                    return 1;
                case "request.rejected":
                    System.err.println("the backup was not made: " + event.payload.code + ": " + event.payload.reason);
                    return 1;
                default:
            }
        }
    }
}
