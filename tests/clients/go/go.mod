module ringvault.example/ask

go 1.21

require (
	github.com/google/uuid v1.6.0
	github.com/rabbitmq/amqp091-go v1.10.0
)
