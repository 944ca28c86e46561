"""A language model that repeats the prompt's words, in llama_cpp's form."""


class Llama:
    def __init__(self, model_path, **options):
        with open(model_path) as file:
            self.greeting = file.read().strip()

    def create_completion(self, prompt, max_tokens=16, stream=False, **options):
        words = [self.greeting, *prompt.split()][:max_tokens]
        return ({"choices": [{"text": f"{word} "}]} for word in words)
