"""The service across processes, on a real RabbitMQ."""
