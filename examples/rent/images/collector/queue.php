<?php
// beanstalkd's protocol, as far as the collector needs it.

final class Queue
{
    /** @var resource */
    private $stream;

    /** Connects, and waits for a queue that is not there yet. */
    public function __construct(string $host)
    {
        while (!($stream = @stream_socket_client("tcp://$host:11300", $code, $error, 2))) {
            echo "waiting for the queue: $error\n";
            usleep(300_000);
        }
        stream_set_timeout($stream, 86400);
        $this->stream = $stream;
    }

    public function put(string $tube, string $body): void
    {
        $this->ask("use $tube", 'USING');
        $this->ask('put 1024 0 60 ' . strlen($body) . "\r\n$body", 'INSERTED');
    }

    /**
     * Waits for a job; looks up each second, so that signals are heard.
     * @return array{string, string} the job's number and its body
     */
    public function reserve(string $tube): array
    {
        $this->ask("watch $tube", 'WATCHING');
        do {
            $answer = $this->ask('reserve-with-timeout 1', 'RESERVED', 'TIMED_OUT');
        } while ($answer[0] === 'TIMED_OUT');
        [, $job, $size] = $answer;
        $body = stream_get_contents($this->stream, (int) $size);
        fgets($this->stream);
        return [$job, $body];
    }

    public function delete(string $job): void
    {
        $this->ask("delete $job", 'DELETED');
    }

    private function ask(string $request, string ...$wanted): array
    {
        fwrite($this->stream, "$request\r\n");
        $words = explode(' ', trim((string) fgets($this->stream)));
        if (!in_array($words[0], $wanted, true)) {
            throw new RuntimeException('the queue answers ' . ($words[0] ?: 'nothing') . " to $request");
        }
        return $words;
    }
}
