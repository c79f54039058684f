// A deployment system that asks Ringvault for a backup and waits until it is there.
//
//	ask URL_FILE CLUSTER KEYSPACE BACKUP KEY
//
// Prints each event of the request as a line. Exit 0: the backup can be restored; 1: it was refused,
// or failed; 2: nobody answered, or the call was wrong.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	source   = "deployer-go"
	patience = 2 * time.Minute
)

type selection struct {
	Keyspaces []string `json:"keyspaces"`
}

// The fields of job.create that this client uses; docs/schemas/job.create.schema.json has all.
type backup struct {
	Kind      string    `json:"kind"`
	Cluster   string    `json:"cluster"`
	Name      string    `json:"name"`
	Selection selection `json:"selection"`
}

type request struct {
	ID             string    `json:"id"`
	Type           string    `json:"type"`
	Version        int       `json:"version"`
	Source         string    `json:"source"`
	IdempotencyKey string    `json:"idempotency_key"`
	CreatedAt      time.Time `json:"created_at"`
	Payload        backup    `json:"payload"`
}

type event struct {
	Type    string `json:"type"`
	Payload struct {
		Job           string `json:"job"`
		Code          string `json:"code"`
		Reason        string `json:"reason"`
		RequestSource string `json:"request_source"`
		RequestKey    string `json:"request_key"`
	} `json:"payload"`
}

// errFailed is an answer, but not the one that was hoped for.
var errFailed = errors.New("the backup was not made")

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: ask URL_FILE CLUSTER KEYSPACE BACKUP KEY")
		os.Exit(2)
	}
	asked := request{
		ID: uuid.NewString(), Type: "job.create", Version: 1, Source: source,
		IdempotencyKey: os.Args[5], CreatedAt: time.Now().UTC(),
		Payload: backup{"backup", os.Args[2], os.Args[4], selection{[]string{os.Args[3]}}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := ask(ctx, os.Args[1], asked); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, errFailed) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

func ask(ctx context.Context, urlFile string, asked request) error {
	text, err := os.ReadFile(urlFile)
	if err != nil {
		return err
	}
	url := strings.TrimSpace(string(text))
	login, err := amqp.ParseURI(url)
	if err != nil {
		return err
	}
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	// Before asking, or the answer may be there before anybody listens.
	events, err := listen(channel)
	if err != nil {
		return err
	}
	if err := publish(ctx, channel, login.Username, asked); err != nil {
		return err
	}
	return await(ctx, events, asked.IdempotencyKey)
}

func listen(channel *amqp.Channel) (<-chan amqp.Delivery, error) {
	// Where its rights are as narrow as they may be, a system has queues of this name alone.
	queue, err := channel.QueueDeclare("requester."+uuid.NewString(), false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"job.#", "request.#"} {
		if err := channel.QueueBind(queue.Name, key, "ringvault.events", false, nil); err != nil {
			return nil, err
		}
	}
	return channel.Consume(queue.Name, "", true, true, false, false, nil)
}

// publish returns once the broker holds the request on disk.
func publish(ctx context.Context, channel *amqp.Channel, user string, asked request) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx,
		"ringvault.requests", asked.Type, true, false, amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent,
			// Who asks. The broker refuses any other name than the one logged in with.
			UserId: user, Body: body,
		})
	if err != nil {
		return err
	}
	taken, err := confirmation.WaitContext(ctx)
	if err != nil {
		return err
	}
	select {
	case message := <-returned:
		return fmt.Errorf("the broker has no queue for requests: %s", message.ReplyText)
	default:
	}
	if !taken {
		return errors.New("the broker did not take the request")
	}
	return nil
}

func await(ctx context.Context, events <-chan amqp.Delivery, key string) error {
	for {
		var delivery amqp.Delivery
		var open bool
		select {
		case delivery, open = <-events:
			if !open {
				return errors.New("the connection was lost; asking again with the same key does no harm")
			}
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s", patience)
		}
		var said event
		if err := json.Unmarshal(delivery.Body, &said); err != nil {
			return err
		}
		if said.Payload.RequestSource != source || said.Payload.RequestKey != key {
			continue
		}
		fmt.Println(said.Type, said.Payload.Job)
		switch said.Type {
		case "job.succeeded":
			return nil
		case "job.failed", "job.cancelled", "job.abandoned":
			return errFailed
		case "request.rejected":
			return fmt.Errorf("%w: %s: %s", errFailed, said.Payload.Code, said.Payload.Reason)
		}
	}
}
